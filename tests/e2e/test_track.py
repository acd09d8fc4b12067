# SPDX-License-Identifier: GPL-2.0-or-later
"""Tracking of a running VM: gcctl record finds a known hot set, and gcctl migrate --hot sends it first."""

import json
import signal
import struct
from pathlib import Path
from typing import Any

import pytest
from gclab.environment import SLOW
from gclab.testbed import Migration, Testbed
from gclab.gcctl import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, Gcctl, run, run_ok
from gclab.vm import MIB, Spec, Vm
from gclab.wait import wait_for

pytestmark = pytest.mark.lab

# The chase's first page (WORK_START of tests/guests/memory/layout.h); the rest of the guest lies below.
WORK_START = 16 * MIB // 4096
WORK_MIB = 8
WORK_PAGES = WORK_MIB * MIB // 4096
CHASE = Spec(append=f"mode=chase size={WORK_MIB}M")


def start_record(testbed: Testbed, vm: Vm, *options: str) -> tuple[Gcctl, Path]:
    directory = testbed.new_directory("record")
    trace = directory / "trace"
    record = testbed.gcctl("record", "--qmp", vm.gcctl_qmp(), "-o", str(trace), *options, directory=directory)
    record.wait_event("recording")
    return record, trace


def show(trace: Path) -> list[dict[str, Any]]:
    """The events that gcctl trace prints of it."""
    return [json.loads(line) for line in run_ok("trace", str(trace), "--touches", "--json").splitlines()]


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
    seen: set[int] = set().union(*touched(events))
    assert work <= seen, f"{len(work - seen)} of {len(work)} pages of the chase were not seen"
    assert len(seen - work) <= 64, f"{len(seen - work)} pages were seen beside the chase's"
    done = events[-1]
    assert done["event"] == "done" and done["pages"] == len(seen)
    assert done["dropped"] == 0 and done["unresolved"] == 0
    vcpus = {event["vcpu"] for event in events if event["event"] == "touch"}
    assert vcpus == ({str(cpu) for cpu in range(cpus)} if mode == "order" else {"-"})


@pytest.mark.parametrize("mode", ["order", "age"])
def test_record_finds_the_hot_set(testbed: Testbed, mode: str) -> None:
    # Each vCPU has half of the pages.
    source = testbed.start_source(CHASE.but(cpus=2))
    record, trace = start_record(testbed, source, "--mode", mode, "--for", "600s", "--interval", "2s")
    # The current lap, and then a full one.
    source.wait_running(passes=2, timeout=60)
    record.signal(signal.SIGINT)
    assert record.wait() == EXIT_DONE, record.errors()
    check_hot_set(trace, mode, cpus=2)
    source.wait_running()
    source.check()


def test_pages_are_numbered_by_their_offset_in_the_back_end(testbed: Testbed) -> None:
    # q35 has 2 GiB of RAM below 4 GiB and the rest above: offset 2 GiB is at guest address 4 GiB.
    source = testbed.start_source(CHASE.but(ram_mib=3072, append=f"{CHASE.append} spread=1"))
    record, trace = start_record(testbed, source, "--mode", "order", "--for", "600s", "--interval", "2s")
    source.wait_running(passes=2, timeout=60)
    record.signal(signal.SIGINT)
    assert record.wait() == EXIT_DONE, record.errors()
    every: set[int] = set().union(*touched(show(trace)))
    seen = sorted(every)
    assert seen[-1] < 3072 * MIB // 4096
    hole = 2048 * MIB // 4096
    sides = [[p for p in seen if WORK_START <= p < hole], [p for p in seen if p >= hole]]
    assert min(map(len, sides)) > WORK_PAGES / 4
    assert sum(map(len, sides)) == WORK_PAGES
    # The distance between two of the chase's pages is the same everywhere.
    distances = [{b - a for a, b in zip(side, side[1:], strict=False)} for side in sides]
    assert distances[0] == distances[1] and len(distances[0]) == 1, distances


@pytest.mark.parametrize("mode", ["order", "age"])
def test_vm_killed_while_it_is_recorded(testbed: Testbed, mode: str) -> None:
    source = testbed.start_source(CHASE)
    record, trace = start_record(testbed, source, "--mode", mode, "--for", "600s", "--interval", "1s")
    record.wait_event("epoch")
    source.end()
    assert record.wait() == EXIT_FAILED
    assert f"the VM's process {source.pid} ended" in record.errors()
    # The trace is complete up to there.
    assert show(trace)[-1]["epochs"] >= 1


def test_truncated_trace_is_refused(testbed: Testbed) -> None:
    source = testbed.start_source(CHASE)
    record, trace = start_record(testbed, source, "--for", "1s", "--interval", "500ms")
    assert record.wait() == EXIT_DONE, record.errors()
    whole = trace.read_bytes()
    trace.write_bytes(whole[:-1])
    done = run("trace", str(trace))
    assert done.returncode == EXIT_FAILED
    assert f"offset {len(whole) - 1}: expected the number of epochs, but the file ends" in done.stderr


def refusal(testbed: Testbed, vm: Vm, *launcher: str) -> str:
    """The error with which gcctl record refuses the VM; it has written nothing. `launcher`: what starts gcctl."""
    trace = testbed.directory / "trace"
    done = run("record", "--qmp", vm.gcctl_qmp(), "-o", str(trace), launcher=launcher)
    assert done.returncode == EXIT_REFUSED, done.stderr
    assert done.stdout == "" and not trace.exists()
    return done.stderr


def test_vm_without_kvm_is_refused(testbed: Testbed) -> None:
    vm = testbed.start(CHASE.but(accel="tcg", append="mode=chase size=1M"))
    assert "runs no KVM VM" in refusal(testbed, vm)


@pytest.mark.usefixtures("without_module")
def test_record_names_what_is_missing(testbed: Testbed) -> None:
    vm = testbed.start(CHASE)
    bounds = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    assert f"take the KVM descriptor of process {vm.pid}" in refusal(testbed, vm, *bounds)
    assert "load the module: modprobe guidecopy" in refusal(testbed, vm)
    vm.wait_running()


# Longer than any test; SIGUSR1 ends it. Without read-ahead, whose pages would all belong to the chase.
HOLD = ("--hold-background", "900s", "--next-pages", "0")


def sent_as_hot(migration: Migration) -> int:
    """Pages, so far."""
    return int(migration.migrate.events()[-1].get("warm", 0))


def migrate_hot(testbed: Testbed, source: Vm, spec: Spec, hot: str, guide: str = "off") -> dict[str, Any]:
    """Until the guest has done a lap, only requested pages, the guide's and the hot set's are sent. The VM stands still
    until half as many pages as the chase has were sent as hot: which of them come first is a race otherwise."""
    migration = testbed.migrate(source, spec, *HOLD, "--hot", hot, guide=guide)
    migration.migrate.wait_event("resumed")
    migration.destination.command("stop")
    wait_for("the hot set is sent", lambda: sent_as_hot(migration) >= WORK_PAGES // 2, 60 * SLOW)
    migration.destination.command("cont")
    migration.destination.wait_running(passes=2, timeout=60)
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.check()
    return report


@pytest.mark.parametrize("hot", ["file", "auto"])
def test_migrate_sends_the_hot_set(testbed: Testbed, hot: str) -> None:
    source = testbed.start_source(CHASE)
    if hot == "file":
        record, trace = start_record(testbed, source, "--mode", "order", "--for", "600s", "--interval", "2s")
        source.wait_running(passes=2, timeout=60)
        record.signal(signal.SIGINT)
        assert record.wait() == EXIT_DONE, record.errors()
        hot = str(trace)
    report = migrate_hot(testbed, source, CHASE, hot)
    assert report["hot"]["from"] == hot and report["hot"]["reason"] == ""
    assert report["hot"]["pages"] >= WORK_PAGES
    assert report["pages"]["warm"] <= report["hot"]["pages"]
    # Each page of the chase is needed; those that came before are not requested.
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
    """A trace by age with one epoch, which touched that many pages from `first` on (the trace format is in docs/)."""
    def numbers(*values: int) -> bytes:
        return b"".join(map(varint, values))

    second = 1_000_000
    return (b"gctrace\n" + struct.pack("<II", 1, 2) + numbers(second, 1, 1) + b"m" + numbers(ram_mib * MIB, 4096)
            + b"E" + numbers(0, second, 0, 0, 1) + numbers(2 * first, 2 * count, 0) + b"Z" + numbers(1))


def test_guide_and_hot_set_share_the_work(testbed: Testbed) -> None:
    # The hot set has half of the pages that the chase needs, and as many that nobody touches; the guide finds the others.
    # What was never written would not be sent.
    spec = CHASE.but(append=f"{CHASE.append} cold={WORK_MIB}M")
    half = WORK_PAGES // 2
    trace = testbed.directory / "trace"
    trace.write_bytes(trace_of(spec.ram_mib, WORK_START + half, WORK_PAGES))
    report = migrate_hot(testbed, testbed.start_source(spec), spec, str(trace), guide="on")
    pages = report["pages"]
    print(f"{report['demand']['faults']} demand faults, {pages['warm']} pages sent as hot, {pages['guide']} for the guide")
    assert report["mode"] == "guide" and report["hot"]["pages"] == WORK_PAGES
    assert half <= pages["warm"] <= WORK_PAGES
    assert pages["guide"] > 0
    # Without the guide the VM would request each page of the other half.
    assert report["demand"]["faults"] < half


def test_hot_set_of_another_vm_is_refused(testbed: Testbed) -> None:
    source = testbed.start_source(CHASE)
    record, trace = start_record(testbed, source, "--for", "1s")
    assert record.wait() == EXIT_DONE, record.errors()
    other = CHASE.but(ram_mib=192)
    vm = testbed.start_source(other)
    migration = testbed.migrate(vm, other, "--hot", str(trace))
    assert migration.migrate.wait() == EXIT_USAGE
    assert "expected a trace of this VM" in migration.migrate.errors()
    vm.wait_running()
