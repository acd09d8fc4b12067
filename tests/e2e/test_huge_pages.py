# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs whose RAM is in reserved huge pages, at both ends. The host must reserve them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gclab.environment import IN_LAB
from gclab.gcctl import EXIT_REFUSED
from gclab.testbed import Testbed
from gclab.vm import Spec

RESERVED = Path("/proc/sys/vm/nr_hugepages")
HUGE_PAGE = 512  # pages


@pytest.fixture
def reserve() -> Iterator[Callable[[int], None]]:
    """Reserves that many MiB of huge pages. A test names it before `testbed`, so that its teardown comes after the
    QEMUs' end."""
    before = int(RESERVED.read_text())

    def raise_by(mib: int) -> None:
        wanted = before + mib // 2
        RESERVED.write_text(str(wanted))
        if not IN_LAB and int(RESERVED.read_text()) < wanted:
            RESERVED.write_text(str(before))
            pytest.skip(f"this host has no contiguous memory for {mib} MiB in huge pages")
        assert int(RESERVED.read_text()) == wanted, "not enough contiguous memory for the huge pages"

    yield raise_by
    RESERVED.write_text(str(before))
    assert int(RESERVED.read_text()) == before, "a huge page is still in use"


def check(report: dict[str, Any], guide: str) -> None:
    assert report["mode"] == ("guide" if guide == "on" else "postcopy"), report["guide"]
    assert report["guide"]["ended"] == ("complete" if guide == "on" else "off"), report["guide"]
    assert report["pages"]["guide"] % HUGE_PAGE == 0, "a huge page is not split"


@pytest.mark.lab
@pytest.mark.parametrize("memory_type,mode", [("hugetlb", "on"), ("hugetlb-private", "on"), ("hugetlb", "off")])
def test_huge_pages(reserve: Callable[[int], None], testbed: Testbed, memory_type: str, mode: str) -> None:
    spec = Spec(memory_type=memory_type)
    reserve(2 * spec.ram_mib)
    check(testbed.migrate_completely(testbed.start_source(spec), spec, guide=mode), mode)


@pytest.mark.lab
def test_precopy_first(reserve: Callable[[int], None], testbed: Testbed) -> None:
    # The VM writes while QEMU is held, so that there is something left for a guide.
    spec = Spec(memory_type="hugetlb", append="mode=check size=24M")
    reserve(2 * spec.ram_mib)
    report = testbed.migrate_completely(testbed.start_source(spec), spec, "--precopy-rounds", "1", guide="on")
    check(report, "on")
    assert report["pages"]["precopy"] > 0.5 * report["pages"]["total"]


@pytest.mark.lab
def test_other_page_size_at_the_destination(reserve: Callable[[int], None], testbed: Testbed) -> None:
    spec = Spec(memory_type="hugetlb")
    reserve(spec.ram_mib)
    source = testbed.start_source(spec)
    migration = testbed.migrate(source, spec.but(memory_type="ram"))
    assert migration.migrate.wait() == EXIT_REFUSED
    assert "page size: 2097152 at the source, 4096 at the destination" in migration.migrate.errors()
    source.wait_running()


def test_switched_over_within_a_huge_page(reserve: Callable[[int], None], testbed: Testbed) -> None:
    """QEMU sends what is left of the huge page that it is sending, and no other, while the VM stands still."""
    spec = Spec(memory_type="hugetlb", append="mode=check size=24M")
    reserve(2 * spec.ram_mib)
    source = testbed.start_source(spec)
    migration = testbed.migrate(source, spec, guide="off", proxy={"rate": 10_000_000})
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    source.check()
    check(report, "off")
    assert report["pages"]["precopy"] <= HUGE_PAGE, report["pages"]
