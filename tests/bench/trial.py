# SPDX-License-Identifier: GPL-2.0-or-later
"""One migration of one workload in one mode over a slow link, and its effect on the workload, the VM and the link."""

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from workloads import Workload

from gclab.environment import SLOW
from gclab.figures import quantile_us, transfer_series
from gclab.movers import Mover
from gclab.sampler import Sampler, Samples
from gclab.second_host import far_host
from gclab.tenants import transmitted_sampler
from gclab.testbed import Testbed
from gclab.wait import wait_for

# Seconds: the workload without a migration, before and (at least) after it; the limit on a migration.
BEFORE, AFTER, MAX_MIGRATION = 3.0, 2.0, 60.0
STEP = 0.1  # seconds between two points of a series
# The workload has recovered when it does RECOVERED of its earlier rate for RECOVERED_FOR seconds.
RECOVERED, RECOVERED_FOR = 0.9, 0.5
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def count_at(seen: Samples, when: float) -> float:
    """Interpolates linearly between two samples."""
    if when <= seen[0][0]:
        return seen[0][1]
    if when >= seen[-1][0]:
        return seen[-1][1]
    high = bisect_right(seen, when, key=itemgetter(0))
    (before, was), (after, now) = seen[high - 1], seen[high]
    return was + (now - was) * (when - before) / max(after - before, 1e-9)


class Meter:
    """How much the workload has done: the sum of several series of samples."""

    def __init__(self, sampled: list[Samples]) -> None:
        self.sampled = sampled

    def at(self, when: float) -> float:
        """The work done until `when`."""
        return sum(count_at(seen, when) for seen in self.sampled)

    def rate(self, begin: float, end: float) -> float:
        return (self.at(end) - self.at(begin)) / (end - begin)


@dataclass
class Trial:
    """One migration's times, on the clock of time.time(), and counts."""

    begin: float  # the migration's
    stop: float  # of the VM at the source
    resume: float  # at the destination
    over: float
    end: float
    meter: Meter
    sent: float  # bytes that the source's NIC sent until `over`
    report: dict[str, Any]  # gcctl's; empty for QEMU's own migration
    demand: list[tuple[float, int]]  # (when, pages requested so far) of QEMU's own migration
    waited: dict[str, Any]  # query-migrate of the destination's QEMU, with its figures of the waits for pages
    unit: str = ""
    values: dict[str, tuple[str, float]] = field(default_factory=dict)

    def recovery(self) -> float:
        """Seconds from the VM's stop at the source until the workload has recovered; if it does not, until the end."""
        wanted = RECOVERED * self.meter.rate(self.begin - BEFORE, self.begin)
        at = self.stop
        while at + RECOVERED_FOR < self.end:
            if self.meter.rate(at, at + RECOVERED_FOR) >= wanted:
                return at - self.stop
            at += Sampler.PERIOD
        return self.end - self.stop

    def lost(self) -> float:
        """The work not done during the migration, in seconds of the rate before it."""
        return self.over - self.begin - (self.meter.at(self.over) - self.meter.at(self.begin)) / \
            self.meter.rate(self.begin - BEFORE, self.begin)

    def faults(self) -> int | None:
        if self.report:
            return int(self.report["demand"]["faults"])
        return self.demand[-1][1] if self.demand else None

    def metrics(self) -> dict[str, tuple[str, float]]:
        """The (unit, value) of each metric."""
        found: dict[str, tuple[str, float]] = {
            "downtime": ("ms", 1000 * (self.resume - self.stop)), "recovery": ("s", self.recovery()),
            "work lost": ("s", self.lost()), "migration": ("s", self.over - self.begin), "sent": ("MiB", self.sent / (1 << 20))}
        if (faults := self.faults()) is not None:
            found["demand faults"] = ("", float(faults))
        if "postcopy-vcpu-blocktime" in self.waited:
            found["vCPUs blocked"] = ("ms", float(sum(self.waited["postcopy-vcpu-blocktime"])))
        if latencies := self.waited.get("postcopy-latency-dist"):  # QEMU 10.1
            found |= {f"fault latency {name}": ("us", float(quantile_us(latencies, q))) for name, q in QUANTILES.items()}
        if self.report:
            demand = self.report["demand"]
            found |= {"stall": ("ms", demand["stall_ms"]), "stall p50": ("us", demand["p50_us"]),
                      "stall p99": ("us", demand["p99_us"]), "stall p99.9": ("us", demand["p999_us"]),
                      "local faults": ("", demand["local"]), "local stall": ("ms", demand["local_ms"])}
            if measured := self.report["measured"]:
                found |= {name: ("%", 100 * measured[name]) for name in ("coverage", "accuracy") if measured[name] is not None}
                found["waste"] = ("MiB", measured["waste_bytes"] / (1 << 20))
        return found

    def series(self) -> dict[str, Any]:
        """For charts: an element of `runs` in the benchmark's file. Time 0 is the VM's stop at the source."""
        first, steps = -BEFORE, round((self.end - self.stop + BEFORE) / STEP) - 1
        per_s = [round(self.meter.rate(self.stop + first + i * STEP, self.stop + first + (i + 1) * STEP), 1) for i in range(steps)]
        return {"throughput": {"step_ms": round(1000 * STEP), "from_ms": round(1000 * first), "per_s": per_s, "unit": self.unit},
                **transfer_series(self.report, self.demand, self.stop)}


def run(workload: Workload, mover: Mover, link_mbit: int) -> Trial:
    """Raises AssertionError if the migration does not complete or the guest finds an error in its memory."""
    far = far_host(f"{link_mbit}mbit")
    testbed = Testbed()
    load = workload.load()
    try:
        source = load.start(testbed, far)
        load.sample()
        time.sleep(BEFORE)
        transmitted = transmitted_sampler(far.nic)
        transmitted.start()
        begin = time.time()
        moving = mover(testbed, far, source, load.spec)
        if far.shares_cpu:
            moving.destination.make_vcpus_nice()
        load.moves_to(moving.destination)
        moving.destination.set_capabilities(["postcopy-blocktime"])
        wait_for("switch-over", moving.switched, MAX_MIGRATION * SLOW, Sampler.PERIOD)
        wait_for("the migration is over", moving.over, MAX_MIGRATION * SLOW, STEP)
        over, sent = time.time(), transmitted.stop()
        report = moving.check()
        load.verify(AFTER)
        end = time.time()
        meter = Meter(load.samples())
        stop, resume = source.event_time("STOP"), moving.destination.event_time("RESUME")
        assert stop and resume, "QEMU sent no event when the VM was stopped or resumed"
        trial = Trial(begin, stop, resume, over, end, meter, sent[-1][1] - sent[0][1], report, moving.demand,
                      moving.destination.command("query-migrate"), load.unit)
        trial.values = trial.metrics()
        return trial
    except AssertionError as error:
        raise AssertionError(f"{error}\n{testbed.describe()}{far.describe()}") from error
    finally:
        load.end()
        testbed.close()
        far.close()
