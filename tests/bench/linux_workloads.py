# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads on Linux, in the demo's guest (scripts/make-demo-guest): a server with clients outside, and a build."""

import time
from typing import Any

from metered import Metered

from gclab import demo_guest
from gclab.environment import SLOW
from gclab.far_host import Far
from gclab.qemu import tap
from gclab.redis import RedisClient
from gclab.sampler import Samples
from gclab.second_host import There
from gclab.testbed import Testbed
from gclab.vm import Vm
from gclab.vm_network import VmNetwork
from gclab.wait import wait_for

BOOT_TIMEOUT = 40 * SLOW


class Build(Metered):
    """Short programs over small files, each in a process of its own."""

    unit = "jobs/s"

    def __init__(self) -> None:
        super().__init__(demo_guest.spec("batch=0", "build=1", meter=True))

    def start(self, testbed: Testbed, far: Far) -> Vm:
        source = testbed.start(self.spec)
        self.vms.append(source)
        source.wait_console(demo_guest.READY, BOOT_TIMEOUT)
        wait_for("the guest works", lambda: self.done() > 0, 20 * SLOW)
        return source

    def verify(self, seconds: float) -> None:
        before = self.done()
        time.sleep(seconds)
        wait_for("the guest continues", lambda: self.done() > before, 20 * SLOW)
        for vm in self.vms:
            assert "ERR" not in vm.serial(), vm.serial()[-2000:]
            vm.check()


class Redis:
    """A redis with a client on each host: one of them is near the VM before it moves, the other one afterwards, so
    neither host has more to do then. The guide does not see their requests."""

    unit = "requests/s"

    def __init__(self) -> None:
        self.spec = demo_guest.spec("batch=0", f"ip={VmNetwork.vm_address}/24", args=tap(VmNetwork.destination_tap))
        self.network: VmNetwork | None = None
        self.clients: list[Any] = []  # a RedisClient of either host
        self.vms: list[Vm | There] = []

    def start(self, testbed: Testbed, far: Far) -> Vm:
        self.network = VmNetwork(far)
        source = testbed.start(self.spec.but(args=tap(VmNetwork.source_tap)))
        self.vms.append(source)
        source.wait_console(demo_guest.READY, BOOT_TIMEOUT)
        self.clients = [RedisClient(VmNetwork.vm_address, 0), far.redis_client(VmNetwork.vm_address, 1)]
        self.clients[0].fill()
        for client in self.clients:
            client.start()
        wait_for("redis answers", lambda: all(client.answered() > 0 for client in self.clients), 20 * SLOW)
        return source

    def sample(self) -> None:
        for client in self.clients:
            client.sample()

    def moves_to(self, destination: Vm | There) -> None:
        self.vms.append(destination)

    def samples(self) -> list[Samples]:
        return [client.samples() for client in self.clients]

    def verify(self, seconds: float) -> None:
        before = [client.answered() for client in self.clients]
        time.sleep(seconds)
        for client, was in zip(self.clients, before, strict=True):
            self._wait_answer(client, was)
        for vm in self.vms:
            vm.check()

    @staticmethod
    def _wait_answer(client: Any, was: int) -> None:
        wait_for("redis answers", lambda: bool(client.error() or client.answered() > was), 20 * SLOW)
        assert not client.error(), client.error()

    def end(self) -> None:
        for client in self.clients:
            client.stop()
        if self.network:
            self.network.close()
