# SPDX-License-Identifier: GPL-2.0-or-later
"""Another host: the second VM of a lab with two (scripts/lab --hosts 2). Its host_agent.py holds what is named by proxies here.

Whatever of it passes a time between the hosts is in this file: each host's time.time() is its own.
"""

import functools
import subprocess
import time
from collections.abc import Callable
from multiprocessing.managers import BaseManager
from typing import Any

from .bench import Bench
from .environment import SLOW, TWO_HOSTS
from .far_host import FarHost, Switch, ip
from .gcctl import Gcctl
from .redis_client import RedisClient
from .sampler import Samples
from .stream_server import StreamServer
from .vm import Spec, Vm
from .wait import wait_for

ADDRESS = ("10.88.0.2", 4500)
KEY = b"guidecopy"  # nobody else is on that cable
ROUND_TRIPS = 20


class Host:
    """The second host itself, there."""

    def time(self) -> float:
        return time.time()

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, timeout=10 * SLOW)


class Manager(BaseManager):
    """Of either end. A method's result is a copy here, but for those named, whose result is a proxy."""


Manager.register("Host", Host)
Manager.register("Bench", Bench, method_to_typeid={"start": "Vm", "receive": "Gcctl"})
Manager.register("RedisClient", RedisClient)
Manager.register("StreamServer", StreamServer)
for kind in (Vm, Gcctl):
    Manager.register(kind.__name__, create_method=False)


@functools.cache
def manager() -> Any:
    def connected() -> Manager | None:
        found = Manager(ADDRESS, KEY)
        try:
            found.connect()
        except OSError:
            return None  # it boots still
        return found

    return wait_for("the second host's agent answers", connected, 20 * SLOW)


class There:
    """An object on the second host, whose times are said in this one's."""

    def __init__(self, proxy: Any, here: Callable[[float], float]) -> None:
        self.proxy = proxy
        self.here = here

    def __getattr__(self, method: str) -> Any:
        return getattr(self.proxy, method)

    def event_time(self, name: str) -> float | None:
        when = self.proxy.event_time(name)
        return None if when is None else self.here(when)

    def samples(self) -> Samples:
        return [(self.here(when), count) for when, count in self.proxy.samples()]


class BenchThere:
    """A Bench on the second host."""

    def __init__(self, here: Callable[[float], float]) -> None:
        self.proxy = manager().Bench()
        self.here = here

    def start(self, spec: Spec, name: str, incoming: bool = False) -> There:
        return There(self.proxy.start(spec, name, incoming), self.here)

    def __getattr__(self, method: str) -> Any:
        return getattr(self.proxy, method)


class SecondHost:
    """As FarHost with a rate. The switch is on this host, so that the other has nothing but its NIC."""

    nic, near_address, address = FarHost.nic, FarHost.near_address, FarHost.address
    shares_cpu = False
    enter = ()
    far_nic, free_cable = "link0", "vms0"

    def __init__(self, rate: str) -> None:
        self.there = manager().Host()
        self.offset = self._measured_offset()
        self.bench_there = BenchThere(self._here)
        self.switch = Switch(self.nic, rate)
        ip("link", "set", self.far_nic, "netns", self.switch.name)
        self.switch.plug(self.far_nic)
        ip("address", "add", f"{self.near_address}/24", "dev", self.nic)
        ip("link", "set", self.nic, "up")
        self.ip("address", "add", f"{self.address}/24", "dev", self.far_nic)
        self.ip("link", "set", self.far_nic, "up")

    def _measured_offset(self) -> float:
        """How far its clock is ahead of this one's: by the shortest round trip of some."""
        seen = []
        for _ in range(ROUND_TRIPS):
            begin, theirs, end = time.time(), self.there.time(), time.time()
            seen.append((end - begin, theirs - (begin + end) / 2))
        return min(seen)[1]

    def _here(self, when: float) -> float:
        return when - self.offset

    def bench(self, _: Bench) -> BenchThere:
        return self.bench_there

    def ip(self, *arguments: str) -> None:
        self.there.run("ip", *arguments)

    def redis_client(self, address: str, seed: int) -> There:
        return There(manager().RedisClient(address, seed), self._here)

    def stream_server(self) -> There:
        return There(manager().StreamServer(self.address), self._here)

    def cable(self) -> str:
        return self.free_cable

    def describe(self) -> str:
        return f"on the second host:\n{self.bench_there.describe()}"

    def close(self) -> None:
        self.bench_there.close()
        self.ip("address", "flush", "dev", self.far_nic)
        ip("link", "del", self.nic)
        ip("-n", self.switch.name, "link", "set", self.far_nic, "netns", "1")
        self.switch.close()


Far = FarHost | SecondHost


def far_host(rate: str) -> Far:
    """The lab's second VM, or if there is none a namespace."""
    return SecondHost(rate) if TWO_HOSTS else FarHost(rate)
