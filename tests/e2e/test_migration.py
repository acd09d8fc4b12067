# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs of all supported configurations arrive intact, with and without a guide."""

import signal
import time
from typing import Any

import pytest
from gclab.qemu import DESTINATION_QEMU, release
from gclab.testbed import Testbed
from gclab.environment import CAPTURE, GUIDE_MODES, SLOW
from gclab.gcctl import EXIT_NEEDS_OPERATOR, page_classes
from gclab.vm import MEMORY, WORK_MIB, Spec
from gclab.wait import wait_for


@pytest.mark.parametrize("machine,cpus", [("q35", 4), pytest.param("q35", 1, marks=pytest.mark.both),
                                          pytest.param("pc", 1, marks=pytest.mark.both), ("pc", 4),
                                          pytest.param("microvm", 1, marks=pytest.mark.both), ("microvm", 4)])
def test_machine(testbed: Testbed, machine: str, cpus: int, guide: str) -> None:
    spec = Spec(machine=machine, cpus=cpus)
    report = testbed.migrate_completely(testbed.start_source(spec), spec, guide=guide)
    check_mode(report, guide)


@pytest.mark.both
def test_switched_over_at_once(testbed: Testbed, guide: str) -> None:
    spec = Spec()
    report = testbed.migrate_completely(testbed.start_source(spec), spec, guide=guide)
    check_mode(report, guide)
    # Almost nothing is queued before the device state, for which the VM is stopped: at most what the source may send in
    # the 2 s that it may be held. Later QEMUs than 7.2 count 253 pages late.
    assert report["bytes"]["precopy"] < 256 << 10, report["bytes"]
    figures = report["qemu_postcopy"]
    if release(DESTINATION_QEMU) < (10, 1):
        assert figures is None
    else:
        assert sum(figures["latency_dist"]) > 0 and figures["latency_ns"] > 0 and len(figures["vcpu_latency_ns"]) == spec.cpus


def test_source_is_killed(testbed: Testbed, guide: str) -> None:
    spec = Spec()
    migration = testbed.migrate(testbed.start_source(spec), spec, "--kill-source", guide=guide)
    check_mode(migration.wait_completed(spec, source_is_left=False), guide)
    migration.source.wait_end()
    assert migration.source.process.returncode == -signal.SIGKILL, migration.source.errors()
    migration.destination.wait_running()
    migration.source.check()


def test_source_dies_after_the_commit(testbed: Testbed, guide: str) -> None:
    """Its memory is a file, which gcctl has open, and its ROMs and video memory have been fetched."""
    # More than the guest can have asked for when the source is killed.
    spec = Spec(args=("-vga", "std"), append="mode=check size=96M")
    migration = testbed.migrate(testbed.start_source(spec), spec, "--bandwidth", "16M", guide=guide)
    migration.migrate.wait_event("resumed")
    time.sleep(0.5)
    migration.source.process.kill()
    check_mode(migration.wait_completed(spec, source_is_left=False), guide)
    assert migration.migrate.event("source-lost")
    migration.destination.wait_running(passes=2)
    migration.source.check()


def test_source_with_private_memory_dies_after_the_commit(testbed: Testbed) -> None:
    """The loss is inherent, and gcctl says so."""
    spec = Spec(memory_type="plain")
    migration = testbed.migrate(testbed.start_source(spec), spec, "--bandwidth", "2M")
    migration.migrate.wait_event("resumed")
    migration.source.process.kill()
    assert migration.migrate.wait() == EXIT_NEEDS_OPERATOR
    assert "was lost with the source QEMU" in migration.report()["error"]


@pytest.mark.both
def test_two_ram_backends(testbed: Testbed, guide: str) -> None:
    spec = Spec(cpus=2, backends=2, append=f"mode=check size={WORK_MIB}M spread=1")
    report = testbed.migrate_completely(testbed.start_source(spec), spec, guide=guide)
    check_mode(report, guide)


@pytest.mark.long
def test_5_gib_sparse_guest(testbed: Testbed) -> None:
    guide = GUIDE_MODES[0]  # one mode only: it takes minutes on an emulated CPU
    # Anonymous memory at the destination, where a zero page takes no memory.
    spec = Spec(ram_mib=5120, cpus=2, append="mode=check size=16M spread=1")
    source = testbed.start_source(spec)
    migration = testbed.migrate(source, spec.but(memory_type="ram"), guide=guide)
    report = migration.wait_completed(spec, timeout=90)
    migration.destination.wait_running()
    check_mode(report, guide)
    assert report["pages"]["zero"] > 0.98 * report["pages"]["total"]
    assert report["bytes"]["total"] < 200 << 20


# Not with TCG, where QEMU 7.2 misses guest writes during pre-copy: two QEMUs without gcctl, pre-copy and then
# post-copy, migrate the memory guest with stale pages nearly every time.
@pytest.mark.lab
@pytest.mark.parametrize("mode,options", [("on", ("--precopy-rounds", "1")), ("off", ("--precopy-time", "1s"))],
                         ids=["rounds-guide-on", "time-guide-off"])
def test_precopy_first(testbed: Testbed, mode: str, options: tuple[str, ...]) -> None:
    spec = Spec()
    report = testbed.migrate_completely(testbed.start_source(spec), spec, *options, guide=mode)
    check_mode(report, mode)
    # The guest rewrites a part continuously and nothing else. One round covers all of memory; how much of it one second
    # covers depends on the machine.
    assert report["pages"]["precopy"] > (0.5 * report["pages"]["total"] if "--precopy-rounds" in options else 0)


@pytest.mark.lab
def test_precopy_as_long_as_it_pays(testbed: Testbed) -> None:
    """The guest writes its working set again and again: the first round pays, and soon none does any more."""
    spec = Spec()
    report = testbed.migrate_completely(testbed.start_source(spec), spec, "--precopy", "auto", guide="on")
    check_mode(report, "on")
    precopy = report["precopy"]
    assert precopy["ended"] == "no-gain"
    assert 2 <= len(precopy["rounds_ms"]) == len(precopy["remaining_bytes"]) < 10
    left = precopy["remaining_bytes"]
    assert left[1] < 0.75 * left[0]
    assert left[-1] > 0.75 * left[-2]
    assert report["pages"]["precopy"] > 0.5 * report["pages"]["total"]


def test_precopy_ends_at_its_limit(testbed: Testbed) -> None:
    """Nobody writes, so TCG loses nothing."""
    spec = Spec(append="mode=check size=16M passes=1")
    source = testbed.start(spec)
    wait_for("the guest is done", lambda: "DONE" in source.serial(), 30 * SLOW)
    migration = testbed.migrate(source, spec, "--precopy", "auto", "--precopy-bytes", "1M", "--bandwidth", "4M")
    report = migration.wait_completed(spec)
    assert report["precopy"]["ended"] == "bytes"
    assert 1 << 20 <= report["bytes"]["precopy"] < 8 << 20


def test_lead_and_bandwidth_are_kept(testbed: Testbed, guide: str) -> None:
    spec = Spec()
    rate = 16 << 20
    report = testbed.migrate_completely(testbed.start_source(spec), spec, "--bandwidth", "16M", "--lead", "64", guide=guide)
    check_mode(report, guide)
    paced = sum(report["bytes"][name] for name in page_classes(report) if name not in ("precopy", "urgent"))
    assert paced < 1.3 * rate * report["total_ms"] / 1000


@pytest.mark.both
def test_back_and_forth(testbed: Testbed, guide: str) -> None:
    spec = Spec()
    vm = testbed.start_source(spec)
    for _ in range(2):
        migration = testbed.migrate(vm, spec, guide=guide)
        migration.wait_completed(spec)
        migration.destination.wait_running()
        vm = migration.destination


@pytest.mark.parametrize("memory_type", [pytest.param(kind, marks=[pytest.mark.both] if kind in ("memfd-private", "plain") else [])
                                         for kind in MEMORY if kind != "memfd"])
def test_memory_as_it_was_started(testbed: Testbed, memory_type: str) -> None:
    guide = GUIDE_MODES[0]  # gcctl itself reads the memory in both modes, so the one with a guide covers the other
    if memory_type == "plain":
        spec = Spec(memory_type=memory_type, cpus=2)
    else:
        spec = Spec(memory_type=memory_type, backends=2, append=f"mode=check size={WORK_MIB}M spread=1")
    report = testbed.migrate_completely(testbed.start_source(spec), spec, guide=guide)
    check_mode(report, guide)
    assert (report["guide"]["memory_bytes"] > 0) == (guide == "on")


def check_mode(report: dict[str, Any], guide: str) -> None:
    assert report["mode"] == ("guide" if guide == "on" else "postcopy"), report["guide"]
    assert report["capture"] == (CAPTURE if guide == "on" else "none")
    assert report["guide"]["started"] == (guide == "on")
    assert report["guide"]["ended"] == ("complete" if guide == "on" else "off"), report["guide"]
    assert report["pages"]["guide"] == report["guide"]["pushed"]
