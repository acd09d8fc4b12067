# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs in the VM while it moves."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.bench import Bench  # noqa: E402
from harness.environment import SLOW  # noqa: E402
from harness.link_load import Stream  # noqa: E402
from harness.sampler import Samples  # noqa: E402
from harness.second_host import Far, There  # noqa: E402
from harness.vm import Spec, Vm  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from linux_workloads import Build, Redis  # noqa: E402
from metered import Metered  # noqa: E402


class Load(Protocol):
    """A workload's run in one VM."""

    spec: Spec
    unit: str  # of done()

    def start(self, bench: Bench, far: Far) -> Vm:
        """The source; it works already when this returns."""

    def sample(self) -> None:
        """Samples how much it has done, from now on."""

    def moves_to(self, destination: Vm | There) -> None: ...

    def samples(self) -> list[Samples]:
        """The sampling ends. What it has done is the sum of these."""

    def verify(self, seconds: float) -> None:
        """Goes on at the destination for so long at least. Asserts that nothing went wrong."""

    def end(self) -> None: ...


@dataclass(frozen=True)
class Workload:
    name: str
    load: Callable[[], Load]


class Memory(Metered):
    """tests/guests/memory, which checks every word that it owns."""

    unit = "pages/s"
    a_tick = 4

    def __init__(self, spec: Spec, passes: int) -> None:
        super().__init__(spec.but(meter=True, append=f"{spec.append} tick={self.a_tick}"))
        self.passes = passes

    def start(self, bench: Bench, _: Far) -> Vm:
        source = bench.start(self.spec)
        self.vms.append(source)
        wait_for("the guest works", lambda: source.serial().count("READY") == self.spec.cpus and self.done() > 0, 40 * SLOW)
        return source

    def verify(self, seconds: float) -> None:
        """With `passes`: until the guest has checked all of its memory at the destination as often."""
        before, begin = self.done(), time.monotonic()
        if self.passes:
            self.vms[-1].wait_running(self.passes, 30)
        time.sleep(max(0, begin + seconds - time.monotonic()))
        assert self.done() > before, "the guest does nothing at the destination"
        for vm in self.vms:
            vm.check()


class Tenant(Memory):
    """Somebody else's stream on the link that a VM at work moves over: what it does is what arrives of that."""

    unit = "kB/s"
    FULL = 1.0  # seconds, until it has found what the link carries

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, passes=0)
        self.stream: Stream | None = None

    def start(self, bench: Bench, far: Far) -> Vm:
        source = super().start(bench, far)
        self.stream = Stream(far)
        self.stream.start()
        wait_for("the stream flows", lambda: self.stream.server.arrived() > 0, 20 * SLOW)
        time.sleep(self.FULL)
        return source

    def sample(self) -> None:
        self.stream.server.sample()

    def moves_to(self, destination: Vm | There) -> None:
        self.vms.append(destination)

    def samples(self) -> list[Samples]:
        return [[(when, count / 1000) for when, count in self.stream.server.samples()]]

    def end(self) -> None:
        if self.stream:
            self.stream.stop()


def memory(name: str, append: str, cpus: int = 1, passes: int = 1) -> Workload:
    spec = Spec(ram_mib=64, cpus=cpus, append=append)
    return Workload(name if cpus == 1 else f"{name}, {cpus} vCPUs", lambda: Memory(spec, passes))


# What rests 16 ms uses pages at a fifth of the rate at which the benchmark's link can bring them, write-heavy ones at four fifths:
# at more than that an emulated CPU has no time left, least of all one that plays both hosts, and the VM waits for it instead of
# pages.
WORKLOADS = [
    memory("pointer chase", "mode=chase size=8M rest=16000"),
    memory("sequential", "mode=seq size=8M rest=16000"),
    memory("write-heavy", "mode=check size=8M rest=4000"),
    memory("fresh allocation", "mode=fresh size=30M cold=8M rest=16000", passes=0),
    memory("idle", "mode=check size=8M rest=100000", passes=0),
    memory("pointer chase", "mode=chase size=8M rest=64000", cpus=4),
    memory("write-heavy", "mode=check size=8M rest=16000", cpus=4),
    Workload("redis", Redis),
    Workload("build", Build),
    Workload("a tenant's stream", lambda: Tenant(Spec(ram_mib=64, append="mode=check size=8M rest=4000"))),
]
