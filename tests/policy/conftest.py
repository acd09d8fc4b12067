# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of `gcctl policy` on real devices in network namespaces of the test's own. They need root: scripts/lab."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
GCCTL = Path(os.environ.get("GCCTL", TREE / "build" / "bin" / "gcctl"))
BPFFS = Path("/sys/fs/bpf")
PINS = BPFFS / "guidecopy"
TIMEOUT = 120
MODULES = ["veth", "tun", "bridge", "8021q", "sch_fq", "sch_ingress", "cls_bpf", "cls_matchall", "act_gact", "sch_sfq", "sch_fq_codel", "sch_codel",
           "sch_pie", "sch_htb", "sch_prio", "sch_tbf", "sch_netem"]


def pytest_configure(config: pytest.Config) -> None:
    if not GCCTL.exists():
        pytest.exit(f"there is no {GCCTL}; run make", returncode=4)
    if os.geteuid() != 0:
        pytest.exit("these tests need root and a kernel with veth, fq and clsact: run them in scripts/lab", returncode=4)
    if not os.path.ismount(BPFFS):
        subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], check=True, timeout=TIMEOUT)
    # The lab loads no module by itself.
    subprocess.run(["modprobe", "-a", *MODULES], check=True, timeout=TIMEOUT)


class Namespace:
    """A network namespace. Not by `ip netns exec`, which mounts another /sys, where no BPF file system is."""

    def __init__(self, name: str) -> None:
        self.name = name
        subprocess.run(["ip", "netns", "add", name], check=True, timeout=TIMEOUT)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.name}", *argv]

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*map(str, argv)), check=check, timeout=TIMEOUT, text=True, capture_output=True)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*map(str, argv)), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ping(self, count: int = 1) -> None:
        """To the other end, and back."""
        for _ in range(count):
            self.run("busybox", "ping", "-c", "1", "-W", "20", "10.9.0.2")

    def send(self, mark: int, count: int) -> None:
        """Datagrams to the other end."""
        code = ("import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                "s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(sys.argv[1])); "
                "[s.sendto(b'x' * 100, ('10.9.0.2', 9)) for _ in range(int(sys.argv[2]))]")
        self.run("/usr/bin/python3", "-c", code, str(mark), str(count))

    def policy(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = self.run(str(GCCTL), "policy", *argv, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def show(self, dev: str) -> dict:
        return json.loads(self.policy("show", "--dev", dev, "--json").stdout)[0]

    def qdiscs(self, dev: str, egress: bool = True) -> list[dict]:
        """Without what changes by itself; the handle counts too."""
        found = json.loads(self.run("tc", "-j", "qdisc", "show", "dev", dev).stdout)
        return [q for q in found if q["kind"] not in ("clsact", "ingress") or not egress]

    def filters(self, dev: str) -> str:
        return self.run("tc", "filter", "show", "dev", dev, "egress", check=False).stdout


@pytest.fixture
def ns() -> Iterator[Namespace]:
    """A namespace with the veth nic, whose other end far is in another namespace; and its pins are looked after."""
    near, far = Namespace("gc-near"), Namespace("gc-far")
    near.run("ip", "link", "add", "nic", "numtxqueues", "4", "numrxqueues", "4", "type", "veth", "peer", "name", "far",
             "netns", "gc-far")
    near.run("ip", "addr", "add", "10.9.0.1/24", "dev", "nic")
    far.run("ip", "addr", "add", "10.9.0.2/24", "dev", "far")
    far.run("ip", "link", "set", "far", "up")
    near.run("ip", "link", "set", "nic", "up")
    yield near
    for name in ("gc-near", "gc-far"):
        subprocess.run(["ip", "netns", "delete", name], check=False, timeout=TIMEOUT)
    # What a failed test left, and proof that nothing is left behind by the others.
    subprocess.run([GCCTL, "policy", "detach", "--all", "--force"], check=False, timeout=TIMEOUT)


@pytest.fixture
def far(ns: Namespace) -> Namespace:
    made = object.__new__(Namespace)
    made.name = "gc-far"
    return made


def pins() -> list[str]:
    return sorted(path.name for path in PINS.iterdir()) if PINS.exists() else []
