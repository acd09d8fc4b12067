# SPDX-License-Identifier: GPL-2.0-or-later
"""The host that VMs migrate to. Here it is a network namespace; second_host.py has another VM."""

from typing import Any, Protocol

from .network import HERE, Namespace
from .redis import RedisClient
from .stream_server import StreamServer


class Far(Protocol):
    """What both kinds of far host have."""

    @property
    def nic(self) -> str:
        """The NIC on this host that leads there. Only its address is configured."""

    @property
    def address(self) -> str: ...

    @property
    def shares_cpu(self) -> bool:
        """Whether both hosts run on the same CPUs."""

    @property
    def launcher(self) -> tuple[str, ...]:
        """What a command line begins with that is to run there but is started here."""

    def testbed(self, here: Any) -> Any:
        """What starts processes there: `here` with `launcher`, or another host's Testbed."""

    def ip(self, *arguments: str) -> None: ...

    def redis_client(self, address: str, seed: int) -> Any:
        """A RedisClient there."""

    def stream_server(self) -> Any:
        """A StreamServer there."""

    def cable(self) -> str:
        """A NIC's name here and there: the ends of a cable that no migration uses."""

    def describe(self) -> str:
        """For a failed test's report, in addition to what the Testbed here describes."""

    def close(self) -> None: ...


class Switch:
    """A namespace with a bridge whose ports send no faster than `rate` and queue up to QUEUE. `nic` leads to it.

    The link is some hundred times slower than a real one, so the segments that a NIC gets for segmentation are
    smaller, too.
    """

    QUEUE, GSO_SEGMENTS = "50ms", 4

    def __init__(self, nic: str, rate: str) -> None:
        self.namespace = Namespace("gc-switch")
        self._rate = rate
        self.namespace.create()
        self.namespace.bridge("bridge")
        HERE.veth(nic, "near", self.namespace)
        HERE.ip("link", "set", nic, "gso_max_segs", str(self.GSO_SEGMENTS))
        self.plug("near")

    def plug(self, port: str) -> None:
        """Makes a device of the switch's namespace a port."""
        self.namespace.plug(port, "bridge")
        # tbf splits GSO packets, as a NIC before the switch would have done.
        self.namespace.run("tc", "qdisc", "add", "dev", port, "root", "tbf", "rate", self._rate, "burst", "32k",
                           "latency", self.QUEUE)

    def close(self) -> None:
        self.namespace.delete()


class FarHost:
    """A namespace at the other end of a veth pair; with a `rate`, behind a switch. This namespace is the source's."""

    nic, near_address, address = "gc-near", "10.77.0.1", "10.77.0.2"
    shares_cpu = True

    def __init__(self, rate: str | None = None) -> None:
        self.namespace = Namespace("gc-far")
        self.launcher = self.namespace.launcher
        self._nics = [self.nic]
        self.namespace.create()
        self._switch = Switch(self.nic, rate) if rate else None
        if self._switch:
            self.namespace.veth("nic", "far", self._switch.namespace)
            self._switch.plug("far")
        else:
            HERE.veth(self.nic, "nic", self.namespace)
        HERE.address(self.nic, f"{self.near_address}/24")
        self.namespace.address("nic", f"{self.address}/24")

    def testbed(self, here: Any) -> Any:
        return here

    def ip(self, *arguments: str) -> None:
        self.namespace.ip(*arguments)

    def redis_client(self, address: str, seed: int) -> RedisClient:
        return RedisClient(address, seed)

    def stream_server(self) -> StreamServer:
        return StreamServer(self.address, self.launcher)

    def cable(self) -> str:
        self._nics.append("uplink")
        HERE.veth("uplink", "uplink", self.namespace)
        return "uplink"

    def describe(self) -> str:
        return ""

    def qdiscs(self) -> list[dict[str, Any]]:
        """Those of `nic`, without their counters."""
        return [{key: qdisc[key] for key in ("kind", "handle", "root", "parent", "options") if key in qdisc}
                for qdisc in HERE.qdiscs(self.nic)]

    def close(self) -> None:
        # The kernel ends a deleted namespace, and with it the other ends of these, only after a while.
        for nic in self._nics:
            HERE.ip("link", "del", nic)
        if self._switch:
            self._switch.close()
        self.namespace.delete()
