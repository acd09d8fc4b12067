#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What does a migration cost the others on its link? To be run in the lab with guidecopy.ko loaded, as root.

Two hosts and a switch between, whose ports are the link. On the source's host two tenants send to the other: a TCP stream (iperf3) as
fast as it goes, and a client that asks a server for a short answer each 20 ms. They begin; after a while a VM's
migration does, in each mode in turn; some time after switch-over the stream stops, and the migration has the link for
itself. What the tenants got from switch-over on is compared with what they get in as many seconds without a migration. The
guest checks its memory all the while: an error, or a migration that does not complete, fails the run. Once more, without the
stream and without a guide: what the VM then waits for its pages, behind the background at full speed.

Writes --out, and beside it the table (.md) and a picture of each mode's last run (.svg).
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests" / "e2e"))

from harness.bench import Bench  # noqa: E402
from harness.environment import SLOW  # noqa: E402
from harness.far_host import FarHost  # noqa: E402
from harness.link_load import Classes, Requests, Stream, Transmitted  # noqa: E402
from harness.vm import Spec  # noqa: E402
from harness.wait import wait_for  # noqa: E402

import figures  # noqa: E402
import movers  # noqa: E402
from movers import Mover, Moving, qemu_postcopy  # noqa: E402
from silence_timeline import draw  # noqa: E402

MBIT = 1e6
LINK_MBIT = 40
SPEC = Spec(ram_mib=96, append="mode=check size=48M")
# Seconds: the tenants alone; then beside the migration from its switch-over on; at most, to that, and then to its end.
ALONE, TOGETHER, START, AFTER = 3.0, 8.0, 60.0, 60.0
REFERENCE = "no migration"


@dataclass
class Run:
    """One run of one mode; times are of time.monotonic()."""

    begin: float  # the migration's
    switch_over: float
    stream_end: float  # without a stream, the migration's
    end: float  # of the migration
    stream: list[tuple[float, float]]  # (when, bytes per second)
    requests: list[tuple[float, float]]  # (when, seconds)
    sent: list[tuple[float, int]]  # (when, bytes so far), by the NIC
    classes: list[tuple[float, dict[str, int]]]  # the same of each class of the policy, if there is one
    report: dict[str, Any] = field(default_factory=dict)

    def throughput(self) -> float:
        """Of the stream from switch-over on, bytes per second."""
        return statistics.mean(rate for at, rate in self.stream if self.switch_over < at <= self.stream_end)

    def latency(self, share: float) -> float:
        """Of the requests in the same time, seconds."""
        values = sorted(took for at, took in self.requests if self.switch_over < at <= self.stream_end)
        return values[min(len(values) - 1, math.floor(share * len(values)))]

    def idle_use(self) -> float | None:
        """What the NIC sends when the stream is over, as a share of the link; none if the migration was done before."""
        begin, busy = self.stream_end + 0.5, 0.2 * LINK_MBIT * MBIT / 8
        rates = [((at + before) / 2, (now - was) / (at - before))
                 for (before, was), (at, now) in zip(self.sent, self.sent[1:], strict=False)]
        ends = [at for at, rate in rates if rate > busy]
        if not ends or ends[-1] < begin + 1:
            return None
        return statistics.mean(rate for at, rate in rates if begin < at < ends[-1]) * 8 / MBIT / LINK_MBIT


class Tenants:
    """The load on the link, from its start to its end."""

    def __init__(self, far: FarHost, stream: bool):
        self.stream = Stream(far) if stream else None
        self.requests, self.sent, self.classes = Requests(far), Transmitted(far.nic), Classes()

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
        wait_for("switch-over", moving.switched, START * SLOW, 0.02)
        switch_over, stream_end, rates = time.monotonic(), None, []
        if self.stream or not migrate:
            time.sleep(TOGETHER)
        if self.stream:
            stream_end = time.monotonic()
            rates = self.stream.stop()
        wait_for("the migration is over", moving.over, AFTER + 60 * SLOW, 0.1)
        end = time.monotonic()
        run = Run(begin, switch_over, stream_end or end, end, rates, self.requests.stop(), self.sent.stop(), self.classes.stop())
        run.report = moving.check()
        if moving.destination:
            moving.destination.wait_running()
        return run


NOTHING = Moving(None, lambda: True, lambda: True, dict)


def gcctl(policy: str, guide: str = "on") -> Mover:
    link = () if policy == "none" else ("--policy-link", f"{LINK_MBIT}mbit")
    return movers.gcctl("--policy", policy, *link, guide=guide)


POLICIES = ("none", "fast", "silent")
# In the second nobody is there but who asks, and the VM waits for its pages behind those that are only sent ahead.
WORKLOADS: dict[str, dict[str, Mover | None]] = {
    "beside a stream": {REFERENCE: None, "QEMU post-copy": qemu_postcopy("postcopy-preempt"),
                        "QEMU at half the link": qemu_postcopy("postcopy-preempt",
                                                               max_postcopy_bandwidth=round(LINK_MBIT * MBIT / 8 / 2))}
                       | {f"gcctl {policy}": gcctl(policy) for policy in POLICIES},
    "behind the background": {REFERENCE: None} | {f"gcctl {policy}": gcctl(policy, "off") for policy in POLICIES},
}
Runs = dict[str, dict[str, list[Run]]]  # by workload and mode


def run(mover: Mover | None, stream: bool) -> Run:
    far = FarHost(f"{LINK_MBIT}mbit")
    bench = Bench()
    try:
        source = bench.start_source(SPEC)
        source.make_vcpus_nice()
        done = Tenants(far, stream).run((lambda: mover(bench, far, source, SPEC)) if mover else None)
        source.check()
        return done
    finally:
        bench.close()
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
