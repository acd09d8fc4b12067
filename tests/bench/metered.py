# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads whose VM tells how much it has done, on a serial port of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.sampler import Samples  # noqa: E402
from harness.second_host import There  # noqa: E402
from harness.vm import Spec, Vm  # noqa: E402


class Metered:
    """What they have in common as Loads. Each host samples its own VM."""

    a_tick = 1  # that much was done for each character on the port

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
