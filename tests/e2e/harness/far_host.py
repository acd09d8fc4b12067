# SPDX-License-Identifier: GPL-2.0-or-later
"""Another host: a network namespace at the other end of a veth pair, or of a switch. This namespace is the source's."""

import json
import subprocess
from typing import Any

from .environment import SLOW


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10 * SLOW)


class FarHost:
    """`nic` is the one of this namespace that leads there; nothing is configured on it but its address. With a `rate` there
    is a switch between, whose ports send no faster, and hold what takes `QUEUE` then. The link is some hundred times slower
    than one of today, so the packets that are handed to the NIC for cutting up are smaller too."""

    QUEUE, GSO_SEGMENTS = "50ms", 4
    name, switch = "gc-far", "gc-switch"
    nic, near_address, address = "gc-near", "10.77.0.1", "10.77.0.2"
    enter = ("nsenter", f"--net=/run/netns/{name}")  # `ip netns exec` would hide the BPF file system

    def __init__(self, rate: str | None = None) -> None:
        self.namespaces = [self.name]
        ip("netns", "add", self.name)
        if rate:
            self._add_switch(rate)
        else:
            ip("link", "add", self.nic, "type", "veth", "peer", "name", "nic", "netns", self.name)
        ip("address", "add", f"{self.near_address}/24", "dev", self.nic)
        ip("link", "set", self.nic, "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "nic")
        ip("-n", self.name, "link", "set", "nic", "up")

    def _add_switch(self, rate: str) -> None:
        self.namespaces.append(self.switch)
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        ip("link", "add", self.nic, "type", "veth", "peer", "name", "near", "netns", self.switch)
        ip("link", "set", self.nic, "gso_max_segs", str(self.GSO_SEGMENTS))
        ip("-n", self.name, "link", "add", "nic", "type", "veth", "peer", "name", "far", "netns", self.switch)
        for port in ("near", "far"):
            ip("-n", self.switch, "link", "set", port, "master", "bridge", "up")
            # It cuts GSO packets up, as a NIC before it would have.
            subprocess.run(["tc", "-n", self.switch, "qdisc", "add", "dev", port, "root", "tbf", "rate", rate, "burst", "32k",
                            "latency", self.QUEUE], check=True, timeout=10 * SLOW)

    def qdiscs(self) -> list[dict[str, Any]]:
        """What is on the NIC that leads there, counters left out."""
        shown = subprocess.run(["tc", "-j", "qdisc", "show", "dev", self.nic], capture_output=True, check=True,
                               timeout=10 * SLOW).stdout
        return [{key: qdisc[key] for key in ("kind", "handle", "root", "parent", "options") if key in qdisc}
                for qdisc in json.loads(shown)]

    def close(self) -> None:
        ip("link", "del", self.nic)
        for namespace in self.namespaces:
            ip("netns", "del", namespace)
