# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs whose RAM is in reserved huge pages, at both ends. In the lab only, as it takes reserving some."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.bench import Bench
from harness.vm import HUGE_MEMORY, Spec

pytestmark = pytest.mark.lab

RESERVED = Path("/proc/sys/vm/nr_hugepages")
TARGET_PAGES = 512  # of 4 KiB in a huge page of 2 MiB


@pytest.fixture
def reserve() -> Iterator[Callable[[int], None]]:
    """Reserves so many MiB of huge pages. Named before `bench`, so that they are given back when its QEMUs are gone."""
    before = int(RESERVED.read_text())

    def raise_by(mib: int) -> None:
        wanted = before + mib // 2
        RESERVED.write_text(str(wanted))
        assert int(RESERVED.read_text()) == wanted, "there is not enough memory in one piece for the huge pages"

    yield raise_by
    RESERVED.write_text(str(before))
    assert int(RESERVED.read_text()) == before, "a huge page is still in use"


def check(report: dict, guide: str) -> None:
    assert report["mode"] == ("guide" if guide == "on" else "postcopy"), report["guide"]
    assert report["guide"]["ended"] == ("complete" if guide == "on" else "off"), report["guide"]
    assert report["pages"]["guide"] % TARGET_PAGES == 0, "huge pages are sent whole"


@pytest.mark.parametrize("memory_type", HUGE_MEMORY)
def test_huge_pages(reserve: Callable[[int], None], bench: Bench, memory_type: str, guide: str) -> None:
    spec = Spec(memory_type=memory_type)
    reserve(2 * spec.ram_mib)
    check(bench.migrate_completely(bench.start_source(spec), spec, guide=guide), guide)


def test_precopy_first(reserve: Callable[[int], None], bench: Bench, guide: str) -> None:
    spec = Spec(memory_type="hugetlb")
    reserve(2 * spec.ram_mib)
    report = bench.migrate_completely(bench.start_source(spec), spec, "--precopy-rounds", "1", guide=guide)
    check(report, guide)
    assert report["pages"]["precopy"] > 0.5 * report["pages"]["total"]


def test_other_page_size_at_the_destination(reserve: Callable[[int], None], bench: Bench) -> None:
    spec = Spec(memory_type="hugetlb")
    reserve(spec.ram_mib)
    source = bench.start_source(spec)
    migration = bench.migrate(source, spec.but(memory_type="ram"))
    assert migration.migrate.wait() == 1
    source.wait_running()
