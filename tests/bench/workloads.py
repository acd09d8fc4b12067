# SPDX-License-Identifier: GPL-2.0-or-later
"""The workloads of the VMs that are migrated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from linux_workloads import Build, Redis
from metered import Metered

from gclab.environment import IN_LAB, SLOW
from gclab.far_host import Far
from gclab.sampler import Samples
from gclab.second_host import There
from gclab.tenants import Stream
from gclab.testbed import Testbed
from gclab.vm import PAGE_SIZE, Spec, Vm
from gclab.wait import wait_for


class Load(Protocol):
    """A workload's run in one VM."""

    @property
    def spec(self) -> Spec: ...

    @property
    def unit(self) -> str:
        """Of the samples' rates."""

    def start(self, testbed: Testbed, far: Far) -> Vm:
        """Returns the source when it already works."""

    def sample(self) -> None:
        """Begins to sample how much it has done."""

    def moves_to(self, destination: Vm | There) -> None:
        """A migration to that VM has begun."""

    def samples(self) -> list[Samples]:
        """Ends the sampling. The work done is the sum of these."""

    def verify(self, seconds: float) -> None:
        """Continues at the destination for at least that long, and asserts that nothing went wrong."""

    def end(self) -> None:
        """Ends what start() began beside the testbed's processes."""


@dataclass(frozen=True)
class Workload:
    name: str
    load: Callable[[], Load]


class Memory(Metered):
    """tests/guests/memory, which checks every word of its pages."""

    unit = "pages/s"
    a_tick = 4

    def __init__(self, spec: Spec, passes: int) -> None:
        super().__init__(spec.but(meter=True, append=f"{spec.append} tick={self.a_tick}"))
        self.passes = passes

    def start(self, testbed: Testbed, far: Far) -> Vm:
        source = testbed.start(self.spec)
        self.vms.append(source)
        wait_for("the guest works", lambda: source.serial().count("READY") == self.spec.cpus and self.done() > 0, 40 * SLOW)
        return source

    def verify(self, seconds: float) -> None:
        """Also waits until the guest has checked all of its memory at the destination `passes` times."""
        before, begin = self.done(), time.monotonic()
        if self.passes:
            self.vms[-1].wait_running(self.passes, 30)
        time.sleep(max(0, begin + seconds - time.monotonic()))
        assert self.done() > before, "the guest makes no progress at the destination"
        for vm in self.vms:
            vm.check()


class Tenant(Memory):
    """Another tenant's stream on the link over which a working VM moves. The work is what arrives of the stream."""

    unit = "kB/s"
    RAMP_UP = 1.0  # seconds until TCP has found the link's rate

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, passes=0)
        self.stream: Stream | None = None

    def start(self, testbed: Testbed, far: Far) -> Vm:
        source = super().start(testbed, far)
        stream = self.stream = Stream(far)
        stream.start()
        wait_for("the stream flows", lambda: bool(stream.server.arrived() > 0), 20 * SLOW)
        time.sleep(self.RAMP_UP)
        return source

    def sample(self) -> None:
        assert self.stream
        self.stream.server.sample()

    def moves_to(self, destination: Vm | There) -> None:
        self.vms.append(destination)

    def samples(self) -> list[Samples]:
        assert self.stream
        return [[(when, count / 1000) for when, count in self.stream.server.samples()]]

    def end(self) -> None:
        if self.stream:
            self.stream.stop()


# The benchmark's link. Natively a page fault costs tens of microseconds, in the lab milliseconds.
LINK_MBIT = 10 if IN_LAB else 200
# Natively a VM has more memory, so that a migration takes about a second.
MEMORY = 1 if IN_LAB else 4


def workloads(link_mbit: int = LINK_MBIT) -> list[Workload]:
    """The guests rest after each page, so that they use pages at a fifth of the rate at which the link can bring them,
    the write-heavy ones at four fifths. At higher rates an emulated CPU, above all one that plays both hosts, has no
    time left, and the VM waits for the CPU instead of pages."""
    page_us = 8 * PAGE_SIZE / link_mbit  # on the link
    fifth, four_fifths = round(5 * page_us), round(1.25 * page_us)

    def memory(name: str, append: str, cpus: int = 1, passes: int = 1) -> Workload:
        spec = Spec(ram_mib=64 * MEMORY, cpus=cpus, append=append)
        return Workload(name if cpus == 1 else f"{name}, {cpus} vCPUs", lambda: Memory(spec, passes))

    size = f"size={8 * MEMORY}M"
    tenant = Spec(ram_mib=64 * MEMORY, append=f"mode=check {size} rest={four_fifths}")
    return [
        memory("pointer chase", f"mode=chase {size} rest={fifth}"),
        memory("sequential", f"mode=seq {size} rest={fifth}"),
        memory("write-heavy", f"mode=check {size} rest={four_fifths}"),
        memory("fresh allocation", f"mode=fresh size={30 * MEMORY}M cold={8 * MEMORY}M rest={fifth}", passes=0),
        memory("idle", f"mode=check {size} rest={30 * round(page_us)}", passes=0),
        memory("pointer chase", f"mode=chase {size} rest={4 * fifth}", cpus=4),
        memory("write-heavy", f"mode=check {size} rest={4 * four_fifths}", cpus=4),
        Workload("redis", Redis),
        Workload("build", Build),
        Workload("a tenant's stream", lambda: Tenant(tenant)),
    ]
