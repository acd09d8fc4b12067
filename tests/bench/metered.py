# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads whose VM reports its progress on a second serial port."""

from gclab.sampler import Samples
from gclab.second_host import There
from gclab.vm import Spec, Vm


class Metered:
    """The common part of their Loads. Each host samples its own VM."""

    a_tick = 1  # work done for each character on the port

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.vms: list[Vm | There] = []

    def sample(self) -> None:
        self.vms[0].sample()

    def moves_to(self, destination: Vm | There) -> None:
        self.vms.append(destination)
        destination.sample()

    def samples(self) -> list[Samples]:
        return [[(when, self.a_tick * count) for when, count in vm.samples()] for vm in self.vms]

    def done(self) -> float:
        return self.a_tick * sum(vm.metered() for vm in self.vms)

    def end(self) -> None: ...
