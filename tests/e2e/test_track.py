# SPDX-License-Identifier: GPL-2.0-or-later
"""Live tracking of a running VM: gcctl record finds a hot set that is known."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from harness.bench import Bench
from harness.environment import GCCTL, SLOW
from harness.gcctl import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, Gcctl
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


def check_hot_set(trace: Path, mode: str) -> None:
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


@pytest.mark.parametrize("mode", ["order", "age"])
def test_record_finds_the_hot_set(bench: Bench, mode: str) -> None:
    source = bench.start_source(CHASE)
    record, trace = start_record(bench, source, "--mode", mode, "--for", "600s", "--interval", "2s")
    # The lap under way, and then a full one.
    source.wait_running(passes=2, timeout=60)
    record.signal(signal.SIGINT)
    assert record.wait() == EXIT_DONE, record.errors()
    check_hot_set(trace, mode)
    source.wait_running()
    source.check()
