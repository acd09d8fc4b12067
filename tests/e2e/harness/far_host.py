# SPDX-License-Identifier: GPL-2.0-or-later
"""Another host: a network namespace at the other end of a veth pair, or of a switch. This namespace is the source's."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from .environment import SLOW
from .redis_client import RedisClient
from .stream_server import StreamServer

if TYPE_CHECKING:
    from .bench import Bench


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10 * SLOW)


class Switch:
    """A namespace with a bridge, whose ports send no faster than `rate`, and hold what takes `QUEUE` then. `nic` leads to it.
    The link is some hundred times slower than one of today, so the packets that are handed to a NIC for cutting up are
    smaller too."""

    QUEUE, GSO_SEGMENTS = "50ms", 4
    name = "gc-switch"

    def __init__(self, nic: str, rate: str) -> None:
        self.rate = rate
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.name, "link", "set", "bridge", "up")
        ip("link", "add", nic, "type", "veth", "peer", "name", "near", "netns", self.name)
        ip("link", "set", nic, "gso_max_segs", str(self.GSO_SEGMENTS))
        self.plug("near")

    def plug(self, port: str) -> None:
        """A device of the switch's namespace."""
        ip("-n", self.name, "link", "set", port, "master", "bridge", "up")
        # It cuts GSO packets up, as a NIC before it would have.
        subprocess.run(["tc", "-n", self.name, "qdisc", "add", "dev", port, "root", "tbf", "rate", self.rate, "burst", "32k",
                        "latency", self.QUEUE], check=True, timeout=10 * SLOW)

    def close(self) -> None:
        ip("netns", "del", self.name)


class FarHost:
    """`nic` is the one of this namespace that leads there; nothing is configured on it but its address. With a `rate` there
    is a switch between. SecondHost has the same methods."""

    name = "gc-far"
    nic, near_address, address = "gc-near", "10.77.0.1", "10.77.0.2"
    shares_cpu = True
    enter = ("nsenter", f"--net=/run/netns/{name}")  # `ip netns exec` would hide the BPF file system

    def __init__(self, rate: str | None = None) -> None:
        ip("netns", "add", self.name)
        self.switch = Switch(self.nic, rate) if rate else None
        if self.switch:
            ip("-n", self.name, "link", "add", "nic", "type", "veth", "peer", "name", "far", "netns", self.switch.name)
            self.switch.plug("far")
        else:
            ip("link", "add", self.nic, "type", "veth", "peer", "name", "nic", "netns", self.name)
        ip("address", "add", f"{self.near_address}/24", "dev", self.nic)
        ip("link", "set", self.nic, "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "nic")
        ip("-n", self.name, "link", "set", "nic", "up")

    def bench(self, bench: Bench) -> Bench:
        """What starts processes there, for who has `bench` here: itself, with `enter` where that matters."""
        return bench

    def ip(self, *arguments: str) -> None:
        ip("-n", self.name, *arguments)

    def redis_client(self, address: str, seed: int) -> RedisClient:
        return RedisClient(address, seed)

    def stream_server(self) -> StreamServer:
        return StreamServer(self.address, self.enter)

    def cable(self) -> str:
        """A NIC's name here and there: the ends of a cable that no migration uses."""
        ip("link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", self.name)
        return "uplink"

    def describe(self) -> str:
        """What to add to what bench() here says of itself."""
        return ""

    def qdiscs(self) -> list[dict[str, Any]]:
        """What is on the NIC that leads there, counters left out."""
        shown = subprocess.run(["tc", "-j", "qdisc", "show", "dev", self.nic], capture_output=True, check=True,
                               timeout=10 * SLOW).stdout
        return [{key: qdisc[key] for key in ("kind", "handle", "root", "parent", "options") if key in qdisc}
                for qdisc in json.loads(shown)]

    def close(self) -> None:
        ip("link", "del", self.nic)
        if self.switch:
            self.switch.close()
        ip("netns", "del", self.name)
