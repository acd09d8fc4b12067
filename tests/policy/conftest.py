# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of `gcctl policy` on real devices in network namespaces. They need root: run them in scripts/lab."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gclab.environment import GCCTL, PYTHON
from gclab.network import Namespace

BPFFS = Path("/sys/fs/bpf")
PINS = BPFFS / "guidecopy"
TIMEOUT = 120
MODULES = ["veth", "tun", "bridge", "8021q", "sch_fq", "sch_ingress", "cls_bpf", "cls_matchall", "act_gact", "sch_sfq",
           "sch_fq_codel", "sch_codel", "sch_pie", "sch_htb", "sch_prio", "sch_tbf", "sch_netem"]


def pytest_configure(config: pytest.Config) -> None:
    if not GCCTL.exists():
        pytest.exit(f"{GCCTL} does not exist; run make userspace", returncode=4)
    if os.geteuid() != 0:
        pytest.exit("these tests need root and a kernel with veth, fq and clsact: run them in scripts/lab", returncode=4)
    if not os.path.ismount(BPFFS):
        subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], check=True, timeout=TIMEOUT)
    # The lab's kernel loads no module by itself.
    subprocess.run(["modprobe", "-a", *MODULES], check=True, timeout=TIMEOUT)


class PolicyNamespace(Namespace):
    """A namespace in which gcctl policy runs."""

    def ping(self, count: int = 1) -> None:
        """Packets to the other end and back."""
        for _ in range(count):
            self.run("busybox", "ping", "-c", "1", "-W", "20", "10.9.0.2")

    def send(self, mark: int, count: int) -> None:
        """Datagrams to the other end."""
        code = ("import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                "s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(sys.argv[1])); "
                "[s.sendto(b'x' * 100, ('10.9.0.2', 9)) for _ in range(int(sys.argv[2]))]")
        self.run(PYTHON, "-c", code, str(mark), str(count))

    def policy(self, *argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = self.run(str(GCCTL), "policy", *argv, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def show(self, dev: str) -> dict[str, Any]:
        shown: list[dict[str, Any]] = json.loads(self.policy("show", "--dev", dev, "--json").stdout)
        return shown[0]

    def egress_qdiscs(self, dev: str) -> list[dict[str, Any]]:
        """Without clsact, which our programs may be attached to."""
        return [qdisc for qdisc in self.qdiscs(dev) if qdisc["kind"] not in ("clsact", "ingress")]

    def filters(self, dev: str) -> str:
        return self.run("tc", "filter", "show", "dev", dev, "egress", check=False).stdout


@pytest.fixture
def ns() -> Iterator[PolicyNamespace]:
    """A namespace with a NIC, `nic`, whose other end `far` is in another namespace."""
    near, far = PolicyNamespace("gc-near"), Namespace("gc-far")
    for namespace in (near, far):
        namespace.create()
        namespace.ip("link", "set", "lo", "up")
    near.veth("nic", "far", far, "numtxqueues", "4", "numrxqueues", "4")
    near.ip("address", "add", "10.9.0.1/24", "dev", "nic")
    far.address("far", "10.9.0.2/24")
    near.ip("link", "set", "nic", "up")
    yield near
    for name in ("gc-near", "gc-far"):
        subprocess.run(["ip", "netns", "delete", name], check=False, timeout=TIMEOUT)
    if pins():  # of a failed test; they would fail the next one
        subprocess.run([GCCTL, "policy", "detach", "--all", "--force"], check=False, timeout=TIMEOUT)


@pytest.fixture
def far(ns: PolicyNamespace) -> Namespace:
    return Namespace("gc-far")


def pins() -> list[str]:
    return sorted(path.name for path in PINS.iterdir()) if PINS.exists() else []
