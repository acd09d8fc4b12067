# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces, veth pairs, bridges and taps."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import IN_LAB, SLOW

TIMEOUT = 20 * SLOW
ISOLATED = "GC_ISOLATED"  # set by enter_own_namespaces()


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, check=check, timeout=TIMEOUT, text=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr.strip())
        raise


@dataclass(frozen=True)
class Namespace:
    """A network namespace by its name; the empty one is this process's own."""

    name: str = ""

    @property
    def launcher(self) -> tuple[str, ...]:
        """What a command line begins with that is to run here. `ip netns exec` would mount another /sys, without the
        BPF file system."""
        return ("nsenter", f"--net=/run/netns/{self.name}") if self.name else ()

    def create(self) -> None:
        ip("netns", "add", self.name)

    def delete(self) -> None:
        ip("netns", "del", self.name)

    def command(self, *argv: str) -> list[str]:
        return [*self.launcher, *argv]

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(*self.command(*argv), check=check)

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(self.command(*argv), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ip(self, *arguments: str) -> None:
        ip(*(["-n", self.name] if self.name else []), *arguments)

    def address(self, nic: str, address: str) -> None:
        """Gives a NIC an address, such as 10.0.0.1/24, and brings it up."""
        self.ip("address", "add", address, "dev", nic)
        self.ip("link", "set", nic, "up")

    def bridge(self, name: str, *ports: str) -> None:
        self.ip("link", "add", name, "type", "bridge")
        self.ip("link", "set", name, "up")
        for port in ports:
            self.plug(port, name)

    def plug(self, port: str, bridge: str) -> None:
        self.ip("link", "set", port, "master", bridge, "up")

    def tap(self, name: str) -> None:
        """For QEMU's -netdev tap."""
        self.ip("tuntap", "add", name, "mode", "tap", "vnet_hdr")

    def veth(self, nic: str, peer: str, there: "Namespace", *options: str) -> None:
        """A cable from `nic` here to `peer` in the other namespace. `options` are for this end."""
        self.ip("link", "add", nic, *options, "type", "veth", "peer", "name", peer, *(["netns", there.name] if there.name else []))

    def qdiscs(self, nic: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("tc", "-j", "qdisc", "show", "dev", nic).stdout)
        return found


HERE = Namespace()


def ip(*arguments: str) -> None:
    run("ip", *arguments)


def links() -> list[str]:
    """The network links of this namespace, without those of tests (gc-*): another run may be making or removing them."""
    names = (link["ifname"] for link in json.loads(run("ip", "-j", "link").stdout))
    return sorted(name for name in names if not name.startswith("gc-"))


def links_of(pid: int) -> list[dict[str, Any]]:
    """The network links of a process's namespace, as ip -j shows them."""
    found: list[dict[str, Any]] = json.loads(run("nsenter", "-t", str(pid), "-n", "ip", "-j", "link").stdout)
    return found


def namespaces() -> set[str]:
    """All network namespaces that processes live in. Only the lab has no others than ours; elsewhere it is empty."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net") if IN_LAB else []:
        try:
            found.add(os.readlink(path))
        except OSError:
            continue  # the process has ended
    return found


def transmitted(nic: str) -> int:
    """Bytes that a NIC of this namespace has sent so far. (/sys may be another namespace's.)"""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == nic:
            return int(counters.split()[8])
    raise AssertionError(f"there is no NIC {nic}")


def enter_own_namespaces() -> None:
    """Runs this program again in network and mount namespaces of its own, unless it is in the lab: what it makes there
    does not meet the host's, and is gone when it ends, however it ends."""
    if IN_LAB or os.environ.get(ISOLATED):
        return
    os.environ[ISOLATED] = "1"
    prepare = 'mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip link set lo up && exec "$@"'
    os.execvp("unshare", ["unshare", "--net", "--mount", "--", "sh", "-c", prepare, "sh", sys.executable, *sys.argv])
