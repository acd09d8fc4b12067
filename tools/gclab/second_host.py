# SPDX-License-Identifier: GPL-2.0-or-later
"""The second VM of a lab with two (scripts/lab --hosts 2) as the far host.

Objects there are used through proxies: its process gclab.agent makes them, and calls their methods for us. Each host
has a clock of its own; all code that carries a time from one to the other is in this file.
"""

import functools
import subprocess
import time
from collections.abc import Callable
from multiprocessing.managers import BaseManager
from typing import Any

from .environment import SLOW, TWO_HOSTS
from .far_host import Far, FarHost, Switch
from .gcctl import Gcctl
from .network import HERE
from .redis import RedisClient
from .sampler import Samples
from .stream_server import StreamServer
from .testbed import Testbed
from .vm import Spec, Vm
from .wait import wait_for

ADDRESS = ("10.88.0.2", 4500)
KEY = b"guidecopy"  # multiprocessing requires one; nobody else is on that cable
ROUND_TRIPS = 20  # to measure the difference of the clocks


class Host:
    """The second host itself; runs there."""

    def time(self) -> float:
        return time.time()

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, timeout=10 * SLOW)


class Manager(BaseManager):
    """Serves the objects at the one end and connects to them at the other. A method's result is a copy, except for the
    methods named below, whose result is a proxy."""


Manager.register("Host", Host)
Manager.register("Testbed", Testbed, method_to_typeid={"start": "Vm", "receive": "Gcctl"})
Manager.register("RedisClient", RedisClient)
Manager.register("StreamServer", StreamServer)
Manager.register("Vm", create_method=False)
Manager.register("Gcctl", create_method=False)


@functools.cache
def manager() -> Any:
    """The connection to the agent; waits for the second host to boot."""
    def connected() -> Manager | None:
        found = Manager(ADDRESS, KEY)
        try:
            found.connect()
        except OSError:
            return None
        return found

    return wait_for("the second host's agent answers", connected, 20 * SLOW)


class There:
    """An object on the second host. The times that it returns are on this host's clock."""

    def __init__(self, proxy: Any, here: Callable[[float], float]) -> None:
        self._proxy = proxy
        self._here = here

    def __getattr__(self, method: str) -> Any:
        return getattr(self._proxy, method)

    def event_time(self, name: str) -> float | None:
        when = self._proxy.event_time(name)
        return None if when is None else self._here(when)

    def samples(self) -> Samples:
        return [(self._here(when), count) for when, count in self._proxy.samples()]


class TestbedThere:
    """A Testbed on the second host."""

    __test__ = False

    def __init__(self, here: Callable[[float], float]) -> None:
        self._proxy = manager().Testbed()
        self._here = here

    def start(self, spec: Spec, name: str, incoming: bool = False) -> There:
        return There(self._proxy.start(spec, name, incoming), self._here)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._proxy, method)


class SecondHost:
    """The same as a FarHost with a rate. The switch is on this host, so that the other has only its NIC."""

    nic, near_address, address = FarHost.nic, FarHost.near_address, FarHost.address
    shares_cpu = False
    launcher: tuple[str, ...] = ()
    FAR_NIC, FREE_CABLE = "link0", "vms0"

    def __init__(self, rate: str) -> None:
        self._there = manager().Host()
        self._clock_offset = self._measured_clock_offset()
        self._testbed = TestbedThere(self._here)
        self._switch = Switch(self.nic, rate)
        HERE.ip("link", "set", self.FAR_NIC, "netns", self._switch.namespace.name)
        self._switch.plug(self.FAR_NIC)
        HERE.address(self.nic, f"{self.near_address}/24")
        self.ip("address", "add", f"{self.address}/24", "dev", self.FAR_NIC)
        self.ip("link", "set", self.FAR_NIC, "up")

    def _measured_clock_offset(self) -> float:
        """How many seconds its clock is ahead of this one, from the shortest of some round trips."""
        seen: list[tuple[float, float]] = []
        for _ in range(ROUND_TRIPS):
            begin, theirs, end = time.time(), self._there.time(), time.time()
            seen.append((end - begin, theirs - (begin + end) / 2))
        return min(seen)[1]

    def _here(self, when: float) -> float:
        return when - self._clock_offset

    def testbed(self, here: Any) -> TestbedThere:
        return self._testbed

    def ip(self, *arguments: str) -> None:
        self._there.run("ip", *arguments)

    def redis_client(self, address: str, seed: int) -> There:
        return There(manager().RedisClient(address, seed), self._here)

    def stream_server(self) -> There:
        return There(manager().StreamServer(self.address), self._here)

    def cable(self) -> str:
        return self.FREE_CABLE

    def describe(self) -> str:
        return f"on the second host:\n{self._testbed.describe()}"

    def close(self) -> None:
        self._testbed.close()
        self.ip("address", "flush", "dev", self.FAR_NIC)
        HERE.ip("link", "del", self.nic)
        self._switch.namespace.ip("link", "set", self.FAR_NIC, "netns", "1")
        self._switch.close()


def far_host(rate: str) -> Far:
    """The lab's second VM; in a lab with one, a namespace."""
    if TWO_HOSTS:
        return SecondHost(rate)
    return FarHost(rate)
