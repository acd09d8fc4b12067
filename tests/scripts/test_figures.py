# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/gclab/figures.py: quantiles of histograms."""

import pytest
from gclab.figures import quantile_us


@pytest.mark.parametrize(("counts", "q", "expected"), [
    ([], 0.5, 0),
    ([0, 0], 0.5, 0),
    ([1], 0.999, 2),
    ([0, 0, 7], 0.001, 8),
    ([50, 0, 50], 0.5, 2),
    ([49, 0, 51], 0.5, 8),
    ([990, 9, 0, 1], 0.99, 2),
    ([990, 9, 0, 1], 0.999, 4),
    ([990, 9, 0, 1], 1, 16),
])
def test_quantile_is_the_upper_bound_of_its_bucket(counts: list[int], q: float, expected: int) -> None:
    assert quantile_us(counts, q) == expected
