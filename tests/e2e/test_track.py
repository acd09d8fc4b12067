# SPDX-License-Identifier: GPL-2.0-or-later
"""Live tracking of a running VM: gcctl record finds a hot set that is known, and gcctl migrate --hot sends it first."""

import json
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.bench import Bench
from harness.environment import GCCTL, SLOW
from harness.gcctl import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, Gcctl
from harness.vm import MIB, Spec, Vm

pytestmark = pytest.mark.lab

# The chase has its pages here (WORK_START of tests/guests/memory/layout.h); what else the guest has lies below.
WORK_START = 16 * MIB // 4096
WORK_MIB = 16
WORK_PAGES = WORK_MIB * MIB // 4096
CHASE = Spec(append=f"mode=chase size={WORK_MIB}M")


def start_record(bench: Bench, vm: Vm, *options: str) -> tuple[Gcctl, Path]:
    bench.runs += 1
    directory = bench.directory / f"record-{bench.runs}"
    directory.mkdir()
    trace = directory / "trace"
    record = Gcctl(directory, "record", "--qmp", str(vm.qmp_path), "-o", str(trace), *options)
    bench.running.append(record)
    record.wait_event("recording")
    return record, trace


def show(trace: Path) -> list[dict[str, Any]]:
    """What gcctl trace says of it, one object a line."""
    run = subprocess.run([str(GCCTL), "trace", str(trace), "--touches", "--json"], capture_output=True, text=True,
                         timeout=20 * SLOW)
    assert run.returncode == EXIT_DONE, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def touched(events: list[dict[str, Any]]) -> list[set[int]]:
    """The pages of each epoch."""
    epochs: list[set[int]] = []
    for event in events:
        if event["event"] == "epoch":
            epochs.append(set())
        if event["event"] == "touch":
            epochs[-1] |= set(range(event["page"], event["page"] + event["pages"]))
    return epochs


def check_hot_set(trace: Path, mode: str, cpus: int) -> None:
    events = show(trace)
    assert events[0]["mode"] == mode
    assert [(b["name"], b["bytes"]) for b in events[0]["blocks"]] == [("m", CHASE.ram_mib * MIB)]
    work = set(range(WORK_START, WORK_START + WORK_PAGES))
    seen = set().union(*touched(events))
    assert work <= seen, f"{len(work - seen)} of {len(work)} pages of the chase were not seen"
    assert len(seen - work) <= 64, f"{len(seen - work)} pages were seen that the guest does not use"
    done = events[-1]
    assert done["event"] == "done" and done["pages"] == len(seen)
    assert done["dropped"] == 0 and done["unresolved"] == 0
    vcpus = {event["vcpu"] for event in events if event["event"] == "touch"}
    assert vcpus == ({str(cpu) for cpu in range(cpus)} if mode == "order" else {"-"})


@pytest.mark.parametrize("mode", ["order", "age"])
def test_record_finds_the_hot_set(bench: Bench, mode: str) -> None:
    # Each vCPU has a half of the pages.
    source = bench.start_source(CHASE.but(cpus=2))
    record, trace = start_record(bench, source, "--mode", mode, "--for", "600s", "--interval", "2s")
    # The lap under way, and then a full one.
    source.wait_running(passes=2, timeout=60)
    record.signal(signal.SIGINT)
    assert record.wait() == EXIT_DONE, record.errors()
    check_hot_set(trace, mode, cpus=2)
    source.wait_running()
    source.check()


def test_pages_are_told_by_their_place_in_the_back_end(bench: Bench) -> None:
    # q35 has 2 GiB of these below 4 GiB, and the rest above: offset 2 GiB is at the guest's address 4 GiB.
    source = bench.start_source(CHASE.but(ram_mib=3072, append=f"{CHASE.append} spread=1"))
    record, trace = start_record(bench, source, "--mode", "order", "--for", "600s", "--interval", "2s")
    source.wait_running(passes=2, timeout=60)
    record.signal(signal.SIGINT)
    assert record.wait() == EXIT_DONE, record.errors()
    seen = sorted(set().union(*touched(show(trace))))
    assert seen[-1] < 3072 * MIB // 4096
    hole = 2048 * MIB // 4096
    sides = [[p for p in seen if WORK_START <= p < hole], [p for p in seen if p >= hole]]
    assert min(map(len, sides)) > WORK_PAGES / 4
    assert sum(map(len, sides)) == WORK_PAGES
    # The chase's pages are at the same even distances on either side of the hole.
    distances = [{b - a for a, b in zip(side, side[1:], strict=False)} for side in sides]
    assert distances[0] == distances[1] and len(distances[0]) == 1, distances


@pytest.mark.parametrize("mode", ["order", "age"])
def test_vm_killed_while_it_is_recorded(bench: Bench, mode: str) -> None:
    source = bench.start_source(CHASE)
    record, trace = start_record(bench, source, "--mode", mode, "--for", "600s", "--interval", "1s")
    record.wait_event("epoch")
    source.kill()
    assert record.wait() == EXIT_FAILED
    assert f"the VM's process {source.pid} ended" in record.errors()
    # What there is is a whole trace.
    assert show(trace)[-1]["epochs"] >= 1


def test_trace_that_was_cut_off_is_refused(bench: Bench) -> None:
    source = bench.start_source(CHASE)
    record, trace = start_record(bench, source, "--for", "1s", "--interval", "500ms")
    assert record.wait() == EXIT_DONE, record.errors()
    whole = trace.read_bytes()
    trace.write_bytes(whole[:-1])
    run = subprocess.run([str(GCCTL), "trace", str(trace)], capture_output=True, text=True, timeout=20 * SLOW)
    assert run.returncode == EXIT_FAILED
    assert f"offset {len(whole) - 1}: expected the number of epochs, but the file ends" in run.stderr


def refusal(bench: Bench, vm: Vm, *enter: str) -> str:
    """Why gcctl record refuses the VM; nothing was written then. `enter`: what it is run by."""
    trace = bench.directory / "trace"
    run = subprocess.run([*enter, str(GCCTL), "record", "--qmp", str(vm.qmp_path), "-o", str(trace)],
                         capture_output=True, text=True, timeout=20 * SLOW)
    assert run.returncode == EXIT_REFUSED, run.stderr
    assert run.stdout == "" and not trace.exists()
    return run.stderr


def test_vm_without_kvm_is_refused(bench: Bench) -> None:
    vm = bench.start(CHASE.but(accel="tcg", append="mode=chase size=1M"))
    assert "runs no KVM VM" in refusal(bench, vm)


@pytest.mark.usefixtures("without_module")
def test_record_says_what_it_lacks(bench: Bench) -> None:
    vm = bench.start(CHASE)
    bounds = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    assert f"may not take the KVM descriptor of process {vm.pid}" in refusal(bench, vm, *bounds)
    assert "load it with: modprobe guidecopy" in refusal(bench, vm)
    vm.wait_running()


# Longer than any of this takes; ended with SIGUSR1. What is next to a demand fault would all be of the chase.
HOLD = ("--hold-background", "900s", "--next-pages", "0")


def migrate_hot(bench: Bench, source: Vm, spec: Spec, hot: str, guide: str = "off") -> dict[str, Any]:
    """Migrates with nothing sent but what is asked for, guided to or hot, until the guest has done a lap."""
    migration = bench.migrate(source, spec, *HOLD, "--hot", hot, guide=guide)
    migration.migrate.wait_event("resumed")
    migration.destination.wait_running(passes=2, timeout=60)
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.check()
    return report


@pytest.mark.parametrize("hot", ["file", "auto"])
def test_migrate_sends_the_hot_set(bench: Bench, hot: str) -> None:
    source = bench.start_source(CHASE)
    if hot == "file":
        record, trace = start_record(bench, source, "--mode", "order", "--for", "600s", "--interval", "2s")
        source.wait_running(passes=2, timeout=60)
        record.signal(signal.SIGINT)
        assert record.wait() == EXIT_DONE, record.errors()
        hot = str(trace)
    report = migrate_hot(bench, source, CHASE, hot)
    assert report["hot"]["from"] == hot and report["hot"]["reason"] == ""
    assert report["hot"]["pages"] >= WORK_PAGES
    assert report["pages"]["warm"] <= report["hot"]["pages"]
    # Each page of the chase is needed; those that came before are not asked for.
    print(f"{report['demand']['faults']} demand faults, {report['pages']['warm']} pages sent as hot")
    assert report["demand"]["faults"] <= WORK_PAGES / 2
    assert report["pages"]["warm"] >= WORK_PAGES / 2


def varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def trace_of(ram_mib: int, first: int, count: int) -> bytes:
    """As docs/trace-format.md has it: one epoch, in which so many pages were touched, by age."""
    numbers = lambda *all_of: b"".join(map(varint, all_of))
    second = 1_000_000
    return (b"gctrace\n" + struct.pack("<II", 1, 2) + numbers(second, 1, 1) + b"m" + numbers(ram_mib * MIB, 4096)
            + b"E" + numbers(0, second, 0, 0, 1) + numbers(2 * first, 2 * count, 0) + b"Z" + numbers(1))


def test_guide_and_hot_set_share_the_work(bench: Bench) -> None:
    # The hot set has one half of the pages that the chase needs; the guide finds the other.
    half = WORK_PAGES // 2
    trace = bench.directory / "trace"
    trace.write_bytes(trace_of(CHASE.ram_mib, WORK_START, half))
    report = migrate_hot(bench, bench.start_source(CHASE), CHASE, str(trace), guide="on")
    pages = report["pages"]
    print(f"{report['demand']['faults']} demand faults, {pages['warm']} pages sent as hot, {pages['guide']} for the guide")
    assert report["mode"] == "guide" and report["hot"]["pages"] == half
    assert 0 < pages["warm"] <= half
    assert pages["guide"] > 0
    # Without the guide the VM would have had to ask for each page of the other half.
    assert report["demand"]["faults"] < half


def test_hot_set_of_another_vm_is_refused(bench: Bench) -> None:
    source = bench.start_source(CHASE)
    record, trace = start_record(bench, source, "--for", "1s")
    assert record.wait() == EXIT_DONE, record.errors()
    other = CHASE.but(ram_mib=192)
    vm = bench.start_source(other)
    migration = bench.migrate(vm, other, "--hot", str(trace))
    assert migration.migrate.wait() == EXIT_USAGE
    assert "expected a trace of this VM" in migration.migrate.errors()
    vm.wait_running()
