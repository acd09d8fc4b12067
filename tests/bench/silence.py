#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What does a migration cost other tenants of its link? Runs in the lab with guidecopy.ko loaded, as root.

There are two hosts and between them a switch, whose ports are the link. On the source's host two tenants send to the
other host: a TCP stream (iperf3) as fast as TCP allows, and a client that sends a short request every 20 ms. After a
while a VM begins to migrate, in each mode in turn. Some time after switch-over the stream stops, and the migration has
the link for itself. The tenants' figures after switch-over are compared with those of the same time without a
migration. The guest checks its memory throughout: an error, or a migration that does not complete, fails the run. In a
second workload, without the stream and without a guide, the VM waits for its pages behind the background at full
speed.

Writes --out and, with the same name, the table (.md) and a chart of each mode's last run (.svg).
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from silence_timeline import draw  # noqa: E402

from gclab import figures, movers  # noqa: E402
from gclab.environment import SLOW  # noqa: E402
from gclab.far_host import FarHost  # noqa: E402
from gclab.movers import Mover, Moving, qemu_postcopy  # noqa: E402
from gclab.sampler import Samples  # noqa: E402
from gclab.tenants import PolicyClasses, Requests, Stream, transmitted_sampler  # noqa: E402
from gclab.testbed import Testbed  # noqa: E402
from gclab.vm import Spec  # noqa: E402
from gclab.wait import wait_for  # noqa: E402

MBIT = 1e6
LINK_MBIT = 40
SPEC = Spec(ram_mib=96, append="mode=check size=48M")
# Seconds: the tenants alone, and then beside the migration after its switch-over.
ALONE, TOGETHER = 3.0, 8.0
MAX_START, MAX_END = 60.0 * SLOW, 60.0 + 60.0 * SLOW  # limits on the wait for switch-over, and then for the end
REFERENCE = "no migration"


@dataclass
class Run:
    """One run of one mode. Times are on the clock of time.monotonic()."""

    begin: float  # the migration's
    switch_over: float
    stream_end: float  # without a stream, the migration's
    end: float  # of the migration
    stream: list[tuple[float, float]]  # (when, bytes per second)
    requests: list[tuple[float, float]]  # (when, seconds)
    sent: Samples  # bytes that the NIC has sent so far
    classes: list[tuple[float, dict[str, int]]]  # (when, bytes so far of each class), with a policy
    report: dict[str, Any] = field(default_factory=dict)

    def throughput(self) -> float:
        """Of the stream after switch-over, in bytes per second."""
        return statistics.mean(rate for at, rate in self.stream if self.switch_over < at <= self.stream_end)

    def latency(self, share: float) -> float:
        """The quantile `share` of the requests in the same time, in seconds."""
        values = sorted(took for at, took in self.requests if self.switch_over < at <= self.stream_end)
        return values[min(len(values) - 1, math.floor(share * len(values)))]

    def idle_use(self) -> float | None:
        """What the NIC sends after the stream's end, as a share of the link; None if the migration was over by then."""
        begin, busy = self.stream_end + 0.5, 0.2 * LINK_MBIT * MBIT / 8
        rates = [((at + before) / 2, (now - was) / (at - before))
                 for (before, was), (at, now) in zip(self.sent, self.sent[1:], strict=False)]
        ends = [at for at, rate in rates if rate > busy]
        if not ends or ends[-1] < begin + 1:
            return None
        return statistics.mean(rate for at, rate in rates if begin < at < ends[-1]) * 8 / MBIT / LINK_MBIT


class Tenants:
    """The load on the link during one run."""

    def __init__(self, far: FarHost, stream: bool):
        self.stream = Stream(far) if stream else None
        self.requests, self.sent, self.classes = Requests(far), transmitted_sampler(far.nic), PolicyClasses()

    def run(self, migrate: Callable[[], Moving] | None) -> Run:
        self.requests.start()
        self.sent.start()
        if self.stream:
            self.stream.start()
        time.sleep(ALONE)
        begin = time.monotonic()
        moving = migrate() if migrate else NOTHING
        if moving.destination:
            moving.destination.make_vcpus_nice()
        wait_for("switch-over", moving.switched, MAX_START, 0.02)
        switch_over = time.monotonic()
        stream_end: float | None = None
        rates: list[tuple[float, float]] = []
        if self.stream or not migrate:
            time.sleep(TOGETHER)
        if self.stream:
            stream_end = time.monotonic()
            rates = self.stream.stop()
        wait_for("the migration is over", moving.over, MAX_END, 0.1)
        end = time.monotonic()
        run = Run(begin, switch_over, stream_end or end, end, rates, self.requests.stop(), self.sent.stop(), self.classes.stop())
        run.report = moving.check()
        if moving.destination:
            moving.destination.wait_running()
        return run


NOTHING = Moving(None, lambda: True, lambda: True, dict)


def gcctl(policy: str, guide: str = "on") -> Mover:
    link: tuple[str, ...] = () if policy == "none" else ("--policy-link", f"{LINK_MBIT}mbit")
    return movers.gcctl("--policy", policy, *link, guide=guide)


POLICIES = ("none", "fast", "silent")
# In the second one the requests are the only other load, and the VM's demand faults wait behind the background.
WORKLOADS: dict[str, dict[str, Mover | None]] = {
    "beside a stream": {REFERENCE: None, "QEMU post-copy": qemu_postcopy("postcopy-preempt"),
                        "QEMU at half the link": qemu_postcopy("postcopy-preempt",
                                                               max_postcopy_bandwidth=round(LINK_MBIT * MBIT / 8 / 2)),
                        **{f"gcctl {policy}": gcctl(policy) for policy in POLICIES}},
    "behind the background": {REFERENCE: None, **{f"gcctl {policy}": gcctl(policy, "off") for policy in POLICIES}},
}
Runs = dict[str, dict[str, list[Run]]]  # by workload and mode


def run(mover: Mover | None, stream: bool) -> Run:
    far = FarHost(f"{LINK_MBIT}mbit")
    testbed = Testbed()
    try:
        source = testbed.start_source(SPEC)
        source.make_vcpus_nice()
        done = Tenants(far, stream).run(partial(mover, testbed, far, source, SPEC) if mover else None)
        source.check()
        return done
    finally:
        testbed.close()
        far.close()


def metrics(one: Run) -> dict[str, tuple[str, float]]:
    found = {"tenant throughput": ("Mbit/s", one.throughput() * 8 / MBIT)} if one.stream else {}
    found |= {"request p50": ("ms", 1000 * one.latency(0.5)), "request p99": ("ms", 1000 * one.latency(0.99))}
    if one.stream and (use := one.idle_use()) is not None:
        found["use of the idle link"] = ("%", 100 * use)
    if one.end > one.switch_over + TOGETHER + 1:
        found["migration"] = ("s", one.end - one.begin)
    if one.report:
        demand = one.report["demand"]
        found |= {"demand faults": ("", demand["faults"]), "stalled": ("ms", demand["stall_ms"]),
                  "fault p50": ("us", demand["p50_us"]), "fault p99": ("us", demand["p99_us"])}
    return found


def values(runs: Runs) -> figures.Values:
    found: figures.Values = {}
    for workload, modes in runs.items():
        for mode, all_runs in modes.items():
            for one in all_runs:
                for metric, (unit, value) in metrics(one).items():
                    found.setdefault((workload, mode, metric), (unit, []))[1].append(value)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    known = list(dict.fromkeys(mode for modes in WORKLOADS.values() for mode in modes))
    parser.add_argument("--mode", action="append", choices=known, help="only these, beside the reference")
    arguments = parser.parse_args()
    turns = [(workload, mode) for workload, modes in WORKLOADS.items() for mode in modes
             if not arguments.mode or mode in (REFERENCE, *arguments.mode)]
    runs: Runs = {workload: {mode: [] for of, mode in turns if of == workload} for workload in WORKLOADS}
    for number in range(arguments.rounds):
        first = number * len(turns) // arguments.rounds
        for workload, mode in turns[first:] + turns[:first]:
            one = run(WORKLOADS[workload][mode], stream=workload == "beside a stream")
            runs[workload][mode].append(one)
            told = ", ".join(f"{metric} {value:.1f} {unit}" for metric, (unit, value) in metrics(one).items())
            print(f"round {number + 1}, {workload}, {mode}: {told}", file=sys.stderr, flush=True)
    made = figures.rows(values(runs), REFERENCE)
    result = {"bench": "silence", "reference": REFERENCE, "link_mbit": LINK_MBIT,
              "machine": figures.machine(), "rows": made}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    tables = "\n".join(figures.table(made, workload, REFERENCE) for workload in WORKLOADS)
    arguments.out.with_suffix(".md").write_text(tables)
    draw({mode: all_runs[-1] for mode, all_runs in runs["beside a stream"].items()}, LINK_MBIT, arguments.out.with_suffix(".svg"))
    print(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
