# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that use a policy share it, may die, and the last one cleans up."""

import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from conftest import PINS, TIMEOUT, PolicyNamespace, pins
from gclab.environment import BIN, GCCTL, PYTHON
from gclab.network import Namespace
from gclab.wait import Deadline

USER = BIN / "policy_user"


class User:
    """A policy_user, which uses a policy as a migration does."""

    def __init__(self, ns: PolicyNamespace, *argv: str) -> None:
        self.process = subprocess.Popen(ns.command(str(USER), *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.said = self.process.stdout.readline().strip()

    def end(self) -> None:
        _, error = self.process.communicate("", timeout=TIMEOUT)
        assert self.process.returncode == 0, error

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)


def test_the_last_of_two_detaches(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    first, second = User(ns, "nic", "silent"), User(ns, "nic", "fast")
    assert (first.said, second.said) == ("nic silent attached", "nic silent joined")
    refused = ns.policy("detach", "--dev", "nic", check=False)
    assert refused.returncode == 3 and "a migration uses the policy on nic" in refused.stderr
    first.end()
    assert ns.show("nic")["in_place"] and not ns.show("nic")["lasting"]
    second.end()
    assert ns.qdiscs("nic") == before and pins() == []


def test_an_attached_policy_outlives_its_users(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    user = User(ns, "nic", "fast")
    assert user.said == "nic silent joined"
    user.end()
    assert ns.show("nic")["in_place"]
    ns.policy("detach", "--dev", "nic")


def test_detach_removes_what_a_killed_user_leaves(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    User(ns, "nic", "silent").kill()
    assert pins() != []
    ns.policy("detach", "--all")
    assert ns.qdiscs("nic") == before and pins() == []


def test_the_next_user_removes_what_a_killed_user_leaves(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    User(ns, "nic", "silent").kill()
    user = User(ns, "nic", "fast")
    assert user.said == "nic fast attached"
    user.end()
    assert ns.qdiscs("nic") == before and pins() == []


def test_forced_detach_under_a_user(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    user = User(ns, "nic", "silent")
    ns.policy("detach", "--dev", "nic", "--force")
    assert ns.qdiscs("nic") == before and pins() == []
    user.end()


def test_the_device_is_removed_under_a_user(ns: PolicyNamespace) -> None:
    user = User(ns, "nic", "silent")
    ns.run("ip", "link", "delete", "nic")
    user.end()
    assert pins() == []


def take_program(ns: PolicyNamespace) -> None:
    if ns.show("nic")["hook"] == "clsact":
        ns.run("tc", "qdisc", "del", "dev", "nic", "clsact")
    else:
        (pin,) = PINS.glob("*-nic/link")
        subprocess.run(["/usr/sbin/bpftool", "link", "detach", "pinned", pin], check=True, timeout=TIMEOUT)


def take_fq(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "8:", "pfifo", "limit", "55")


@pytest.mark.parametrize("take, what", [(take_program, "the tc program"), (take_fq, "fq")], ids=["program", "fq"])
def test_a_removed_part_is_restored(ns: PolicyNamespace, take: Callable[[Namespace], None], what: str) -> None:
    ns.policy("attach", "--dev", "nic", "--policy", "fast", "--link", "1gbit")
    ns.policy("set", "--dev", "nic", "use=50%")
    take(ns)
    before = ns.egress_qdiscs("nic")
    broken = ns.show("nic")
    assert (broken["in_place"], broken["missing"]) == (False, what)
    assert f"missing: {what}" in ns.policy("show").stdout
    user = User(ns, "nic", "silent")
    assert user.said == "nic fast joined"
    whole = ns.show("nic")
    assert whole["in_place"] and whole["lasting"] and (whole["policy"], whole["target"]) == ("fast", 62_500_000)
    assert [q["kind"] for q in ns.egress_qdiscs("nic")] == ["fq"]
    user.end()
    take(ns)
    ns.policy("attach", "--dev", "nic")
    assert ns.show("nic")["in_place"] and ns.show("nic")["policy"] == "silent"
    ns.policy("detach", "--dev", "nic")
    if take is take_fq:
        assert ns.egress_qdiscs("nic") == before
    assert pins() == []


@pytest.mark.parametrize("take, what", [(take_program, "the tc program"), (take_fq, "fq")], ids=["program", "fq"])
def test_a_part_removed_under_a_user_is_refused(ns: PolicyNamespace, take: Callable[[Namespace], None], what: str) -> None:
    first = User(ns, "nic", "silent")
    take(ns)
    second = User(ns, "nic", "silent")
    assert f"(missing: {what})" in second.process.communicate("", timeout=TIMEOUT)[1]
    assert second.process.returncode == 1
    first.end()
    assert pins() == []


def test_a_policy_that_cannot_be_restored_is_reported(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "7:", "tbf", "rate", "1gbit", "burst", "128k", "latency", "50ms")
    user = User(ns, "nic", "silent")
    error = user.process.communicate("", timeout=TIMEOUT)[1]
    assert "restoring it failed" in error and "'tbf 7:'" in error
    assert pins() == [] and [q["kind"] for q in ns.qdiscs("nic")] == ["tbf"]


def over_ipv4(ns: Namespace, far: Namespace) -> str:
    return "10.9.0.2"


def over_ipv6(ns: Namespace, far: Namespace) -> str:
    ns.run("ip", "addr", "add", "fd00::1/64", "dev", "nic", "nodad")
    far.run("ip", "addr", "add", "fd00::2/64", "dev", "far", "nodad")
    return "fd00::2"


def over_a_vlan(ns: Namespace, far: Namespace) -> str:
    for where, dev, address in ((ns, "nic", "10.8.0.1/24"), (far, "far", "10.8.0.2/24")):
        where.run("ip", "link", "add", "link", dev, "name", "v5", "type", "vlan", "id", "5")
        where.run("ip", "addr", "add", address, "dev", "v5")
        where.run("ip", "link", "set", "v5", "up")
    return "10.8.0.2"


def over_a_bridge(ns: Namespace, far: Namespace) -> str:
    ns.run("ip", "link", "add", "br0", "type", "bridge")
    ns.run("ip", "addr", "del", "10.9.0.1/24", "dev", "nic")
    ns.run("ip", "link", "set", "nic", "master", "br0")
    ns.run("ip", "addr", "add", "10.9.0.1/24", "dev", "br0")
    ns.run("ip", "link", "set", "br0", "up")
    return "10.9.0.2"


@pytest.mark.parametrize("over", [over_ipv4, over_ipv6, over_a_vlan, over_a_bridge])
def test_the_nic_towards_the_peer(ns: PolicyNamespace, far: Namespace, over: Callable[[Namespace, Namespace], str]) -> None:
    """The policy is attached to the NIC where packets queue, below bridges and VLANs."""
    address = over(ns, far)
    server = far.start(PYTHON, "-u", "-c", "import socket, sys, time\n"
                       "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
                       "s = socket.create_server((sys.argv[1], 7777), family=family); print('up'); c = s.accept(); time.sleep(600)",
                       address)
    try:
        assert server.stdout and server.stdout.readline().strip() == "up"
        user = User(ns, "--peer", address, "7777", "silent", "125000000")
        assert user.said == "nic silent attached"
        user.end()
        assert pins() == []
    finally:
        server.kill()
        server.communicate(timeout=TIMEOUT)


def test_killed_at_any_moment(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "5:", "pfifo", "limit", "77")
    before = ns.qdiscs("nic")
    begun = time.monotonic()
    ns.policy("attach", "--dev", "nic")
    whole = time.monotonic() - begun
    ns.policy("detach", "--dev", "nic")
    parts, partly = 16, 0
    for part in range(parts):
        attach = ns.start(str(GCCTL), "policy", "attach", "--dev", "nic")
        time.sleep(whole * part / parts)
        attach.send_signal(signal.SIGKILL)
        attach.communicate(timeout=TIMEOUT)
        partly += bool(pins())
        ns.policy("detach", "--all")
        assert ns.qdiscs("nic") == before and pins() == [] and ns.filters("nic") == "", part
    print(f"{partly} of {parts} were killed with something in place")


def test_a_deleted_namespace_leaves_nothing_after_detach(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    subprocess.run(["ip", "netns", "delete", "gc-near"], check=True, timeout=TIMEOUT)
    assert pins() != []
    # The kernel removes a namespace's devices some time after its last user has gone.
    deadline = Deadline(TIMEOUT)
    while pins() and not deadline.passed():
        subprocess.run([GCCTL, "policy", "detach", "--all"], check=True, timeout=TIMEOUT)
    assert pins() == []
