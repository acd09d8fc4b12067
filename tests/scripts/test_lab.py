# SPDX-License-Identifier: GPL-2.0-or-later
"""gclab.lab: the frequency of an emulated CPU's TSC."""

from pathlib import Path

import pytest
from gclab import lab

DETECTED = "[    0.07] tsc: PIT calibration deviates from HPET: 199202 2594802\n[    0.07] tsc: Detected 199.202 MHz processor\n"
REFINED = "[    2.39] tsc: Refined TSC clocksource calibration: 2596.121 MHz\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "CACHE", tmp_path)


@pytest.mark.parametrize(("consoles", "parameter"), [
    ([], ""),
    ([DETECTED], ""),
    ([DETECTED, REFINED], " tsc_early_khz=2596121"),
    ([REFINED, REFINED.replace("2596.121", "1234.567")], " tsc_early_khz=2596121"),
])
def test_a_refined_frequency_is_kept(consoles: list[str], parameter: str) -> None:
    for console in consoles:
        lab._keep_tsc_frequency(console)
    assert lab._tsc_parameter() == parameter
