# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs of all supported shapes arrive whole, with and without a guide."""

import signal

import pytest
from harness.bench import Bench
from harness.environment import GUIDE_MODES
from harness.vm import MEMORY, Spec


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("machine", ["q35", "pc", "microvm"])
def test_machine(bench: Bench, machine: str, cpus: int, guide: str) -> None:
    spec = Spec(machine=machine, cpus=cpus)
    report = bench.migrate_completely(bench.start_source(spec), spec, guide=guide)
    check_mode(report, guide)


def test_switched_over_at_once(bench: Bench, guide: str) -> None:
    spec = Spec()
    report = bench.migrate_completely(bench.start_source(spec), spec, guide=guide)
    check_mode(report, guide)
    # The device state, for which the VM halts, stood behind next to nothing: no more than the source is let send in the
    # 2 s that it may be held.
    assert report["bytes"]["precopy"] < 128 << 10, report["bytes"]


def test_source_is_killed(bench: Bench, guide: str) -> None:
    spec = Spec()
    migration = bench.migrate(bench.start_source(spec), spec, "--kill-source", guide=guide)
    check_mode(migration.wait_completed(spec, source_is_left=False), guide)
    migration.source.wait_end()
    assert migration.source.process.returncode == -signal.SIGKILL, migration.source.errors()
    migration.destination.wait_running()
    migration.source.check()


def test_two_ram_backends(bench: Bench, guide: str) -> None:
    spec = Spec(cpus=2, backends=2, append="mode=check size=16M spread=1")
    report = bench.migrate_completely(bench.start_source(spec), spec, guide=guide)
    check_mode(report, guide)


def test_5_gib_sparse_guest(bench: Bench) -> None:
    guide = GUIDE_MODES[0]  # minutes on an emulated CPU: once
    # Anonymous memory at the destination: there, a zero page takes no memory.
    spec = Spec(ram_mib=5120, cpus=2, append="mode=check size=16M spread=1")
    source = bench.start_source(spec)
    migration = bench.migrate(source, spec.but(memory_type="ram"), guide=guide)
    report = migration.wait_completed(spec, timeout=90)
    migration.destination.wait_running()
    check_mode(report, guide)
    assert report["pages"]["zero"] > 0.98 * report["pages"]["total"]
    assert report["bytes"]["total"] < 200 << 20


# Not under TCG: there, QEMU 7.2 misses writes that the guest does while pre-copy runs. Two QEMUs on their own, pre-copy
# and then post-copy without gcctl, bring the memory guest over with stale pages nearly every time.
@pytest.mark.lab
@pytest.mark.parametrize("options", [("--precopy-rounds", "1"), ("--precopy-time", "1s")], ids=["rounds", "time"])
def test_precopy_first(bench: Bench, guide: str, options: tuple[str, ...]) -> None:
    spec = Spec()
    report = bench.migrate_completely(bench.start_source(spec), spec, *options, guide=guide)
    check_mode(report, guide)
    # The guest rewrites 16 MiB all the time; the rest of its memory is quiet. How far pre-copy comes in a time is a
    # matter of speed; a round is all of memory.
    assert report["pages"]["precopy"] > (0.5 * report["pages"]["total"] if "--precopy-rounds" in options else 0)


def test_lead_and_bandwidth_are_kept(bench: Bench, guide: str) -> None:
    spec = Spec()
    rate = 16 << 20
    report = bench.migrate_completely(bench.start_source(spec), spec, "--bandwidth", "16M", "--lead", "64", guide=guide)
    check_mode(report, guide)
    paced = sum(report["bytes"][name] for name in ("guide", "warm", "background"))
    assert paced < 1.3 * rate * report["total_ms"] / 1000


def test_back_and_forth(bench: Bench, guide: str) -> None:
    spec = Spec()
    vm = bench.start_source(spec)
    for _ in range(2):
        migration = bench.migrate(vm, spec, guide=guide)
        migration.wait_completed(spec)
        migration.destination.wait_running()
        vm = migration.destination


@pytest.mark.parametrize("memory_type", [kind for kind in MEMORY if kind != "memfd"])
def test_memory_as_it_was_started(bench: Bench, memory_type: str) -> None:
    guide = GUIDE_MODES[0]  # without one, gcctl alone reads the memory, which it also does with one
    if memory_type == "plain":
        spec = Spec(memory_type=memory_type, cpus=2)
    else:
        spec = Spec(memory_type=memory_type, backends=2, append="mode=check size=16M spread=1")
    report = bench.migrate_completely(bench.start_source(spec), spec, guide=guide)
    check_mode(report, guide)
    assert (report["guide"]["memory_bytes"] > 0) == (guide == "on")


def check_mode(report: dict, guide: str) -> None:
    assert report["mode"] == ("guide" if guide == "on" else "postcopy"), report["guide"]
    assert report["capture"] == ("kmod" if guide == "on" else "none")
    assert report["guide"]["started"] == (guide == "on")
    assert report["guide"]["ended"] == ("complete" if guide == "on" else "off"), report["guide"]
    assert report["pages"]["guide"] == report["guide"]["pushed"]
