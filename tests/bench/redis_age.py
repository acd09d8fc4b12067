#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What does gcctl record --mode age cost a VM that serves redis? Runs in the lab with guidecopy.ko loaded, as root.

The redis of one VM is kept busy by a client in the VM. In turn the VM is not tracked, tracked by age at each of the
intervals, and not tracked once more ("again"), which shows how much two equal slices differ. The order rotates from
round to round. What redis has done in a slice is the difference of its own count. A slice begins and ends with a scan,
so that it contains its share of the scans, but not the cost of starting to track. "default" is gcctl's own interval.
Beside the throughput stands the CPU time of gcctl, which the VM does not lose if the host has an idle CPU.

All this happens twice: with the VM's memory in small pages, each of which has an accessed bit, and in transparent huge
pages.
"""

import argparse
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from gclab import demo_guest, figures  # noqa: E402
from gclab.gcctl import EXIT_DONE  # noqa: E402
from gclab.network import HERE  # noqa: E402
from gclab.qemu import tap  # noqa: E402
from gclab.redis import Redis  # noqa: E402
from gclab.testbed import Testbed  # noqa: E402
from gclab.vm import MIB, PAGE_SIZE, Spec, Vm  # noqa: E402
from gclab.wait import Deadline, wait_for  # noqa: E402

KEYS = 100_000
BOOT_TIMEOUT, WARM_UP, EPOCH_TIMEOUT = 120, 5, 300  # seconds
VM_ADDRESS, HOST_ADDRESS, TAP = "10.0.0.2", "10.0.0.1", "tap-vm"
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MEMORY = {"4 KiB pages": "memfd", "huge pages": "ram"}  # transparent huge pages back anonymous memory only


def spec(memory_type: str) -> Spec:
    """The demo's guest without its batch job, but with a client of its redis."""
    return demo_guest.spec(f"ip={VM_ADDRESS}/24", "batch=0", f"load={KEYS}", ram_mib=256, args=tap(TAP), memory_type=memory_type)


@dataclass(frozen=True)
class Subject:
    """The VM under test, and a connection to its redis."""

    testbed: Testbed
    vm: Vm
    redis: Redis


@dataclass
class Slice:
    """The figures of one slice."""

    requests_per_s: float
    tracker_cpu: float = 0  # percent of a CPU
    hot_mib: float = 0  # memory touched in an interval
    interval: float = 0  # seconds


def cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def measure(subject: Subject, wait: Callable[[], object], tracker: int | None = None) -> Slice:
    """One slice, which lasts as long as wait(). `tracker`: the process that tracks the VM."""
    def busy() -> float:
        return cpu_seconds(tracker) if tracker else 0

    begin, busy_before, before = time.monotonic(), busy(), subject.redis.commands_processed()
    wait()
    done, elapsed = subject.redis.commands_processed() - before, time.monotonic() - begin
    subject.vm.check_alive()
    assert done > 100, f"redis served {done} requests in {elapsed:.1f} s: its client is gone"
    return Slice(done / elapsed, 100 * (busy() - busy_before) / elapsed)


def measure_tracked(subject: Subject, seconds: float, interval: float | None) -> Slice:
    directory = subject.testbed.new_directory("record")
    options = ["--interval", f"{round(1000 * interval)}ms"] if interval else []
    record = subject.testbed.gcctl("record", "--qmp", subject.vm.gcctl_qmp(), "--mode", "age", "--for", "600s", *options,
                                   "-o", str(directory / "trace"), directory=directory)

    def epochs() -> list[dict[str, Any]]:
        return [event for event in record.events() if event["event"] == "epoch"]

    def wait_epoch() -> None:
        before = len(epochs())
        wait_for("an epoch ends", lambda: len(epochs()) > before, EPOCH_TIMEOUT, 0.1)

    def wait_slice() -> None:
        deadline = Deadline(seconds)
        while not deadline.passed():
            wait_epoch()

    try:
        wait_epoch()
        measured = measure(subject, wait_slice, record.process.pid)
        record.signal(signal.SIGINT)
        assert record.wait() == EXIT_DONE, record.errors()
    finally:
        record.end()
    measured.hot_mib = epochs()[-2]["pages"] * PAGE_SIZE / MIB
    measured.interval = epochs()[-2]["length_us"] / 1e6
    return measured


Modes = dict[str, Callable[[Subject], Slice]]


def modes(seconds: float, intervals: list[float]) -> Modes:
    def untracked(subject: Subject) -> Slice:
        return measure(subject, lambda: time.sleep(seconds))

    def tracked(interval: float | None) -> Callable[[Subject], Slice]:
        return lambda subject: measure_tracked(subject, seconds, interval)

    return {"untracked": untracked, **{f"age {interval:g} s": tracked(interval) for interval in intervals},
            "age default": tracked(None), "again": untracked}


def run(workload: str, all_modes: Modes, rounds: int) -> dict[str, list[Slice]]:
    slices: dict[str, list[Slice]] = defaultdict(list)
    testbed = Testbed()
    try:
        vm = testbed.start(spec(MEMORY[workload]))
        vm.wait_console(demo_guest.READY, BOOT_TIMEOUT)
        time.sleep(WARM_UP)
        subject = Subject(testbed, vm, Redis(VM_ADDRESS))
        for number in range(rounds):
            names = list(all_modes)
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                slices[name].append(all_modes[name](subject))
                now = slices[name][-1]
                print(f"{workload}, round {number + 1}, {name}: {now.requests_per_s:.0f} requests/s", file=sys.stderr,
                      flush=True)
    finally:
        testbed.close()
    return slices


def values(workload: str, slices: dict[str, list[Slice]]) -> figures.Values:
    found: figures.Values = {}
    for mode, measured in slices.items():
        found[workload, mode, "throughput"] = ("requests/s", [s.requests_per_s for s in measured])
        if mode == "untracked":
            continue
        # Slices of the same round had the most similar conditions.
        shares = [s.requests_per_s / u.requests_per_s for s, u in zip(measured, slices["untracked"], strict=True)]
        found[workload, mode, "of_untracked"] = ("of one round", shares)
        if mode.startswith("age"):
            found[workload, mode, "tracker_cpu"] = ("% of a CPU", [s.tracker_cpu for s in measured])
            found[workload, mode, "hot_set"] = ("MiB", [s.hot_mib for s in measured])
            found[workload, mode, "interval"] = ("s", [s.interval for s in measured])
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the result as JSON")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--slice", type=float, default=2, metavar="SECONDS", help="minimum length (default: 2)")
    parser.add_argument("--intervals", type=float, nargs="+", default=[1], metavar="SECONDS", help="default: 1")
    parser.add_argument("--memory", choices=MEMORY, nargs="+", default=list(MEMORY))
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    assert "[never]" not in HUGE_PAGES.read_text(), f"{HUGE_PAGES} is 'never'; expected 'madvise' or 'always'"
    HERE.tap(TAP)
    HERE.address(TAP, f"{HOST_ADDRESS}/24")
    result: dict[str, Any] = {"bench": "redis", "reference": "untracked", "machine": figures.machine(), "rows": []}
    for workload in options.memory:
        slices = run(workload, modes(options.slice, options.intervals), options.rounds)
        result["rows"] += figures.rows(values(workload, slices), "untracked")
    for made in result["rows"]:
        ratio = "" if made["ratio"] is None else f"  ratio {made['ratio']:.3f}"
        print(f"{made['workload']:<12} {made['mode']:<10} {made['metric']:<14} {made['median']:10.3f} "
              f"[{made['min']:.3f}, {made['max']:.3f}] {made['unit']}{ratio}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
