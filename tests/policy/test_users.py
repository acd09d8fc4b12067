# SPDX-License-Identifier: GPL-2.0-or-later
"""Users of a policy come, share it, die, and the last one cleans up."""

import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from conftest import GCCTL, PINS, TIMEOUT, TREE, Namespace, pins

USER = TREE / "build" / "bin" / "policy_user"


class User:
    """policy_user, which does what a migration does with a policy."""

    def __init__(self, ns: Namespace, *argv: str) -> None:
        self.process = subprocess.Popen(ns.command(str(USER), *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.said = self.process.stdout.readline().strip()

    def end(self) -> None:
        _, error = self.process.communicate("", timeout=TIMEOUT)
        assert self.process.returncode == 0, error

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)


def test_the_last_of_two_detaches(ns: Namespace) -> None:
    before = ns.qdiscs("nic", egress=False)
    first, second = User(ns, "nic", "silent"), User(ns, "nic", "fast")
    assert (first.said, second.said) == ("nic silent attached", "nic silent joined")
    refused = ns.policy("detach", "--dev", "nic", check=False)
    assert refused.returncode == 3 and "a migration uses the policy on nic" in refused.stderr
    first.end()
    assert ns.show("nic")["in_place"] and not ns.show("nic")["lasting"]
    second.end()
    assert ns.qdiscs("nic", egress=False) == before and pins() == []


def test_one_that_was_attached_to_stay_stays(ns: Namespace) -> None:
    ns.policy("attach", "--dev", "nic")
    user = User(ns, "nic", "fast")
    assert user.said == "nic silent joined"
    user.end()
    assert ns.show("nic")["in_place"]
    ns.policy("detach", "--dev", "nic")


def test_what_a_killed_user_leaves_is_removed_by_detach(ns: Namespace) -> None:
    before = ns.qdiscs("nic", egress=False)
    User(ns, "nic", "silent").kill()
    assert pins() != []
    ns.policy("detach", "--all")
    assert ns.qdiscs("nic", egress=False) == before and pins() == []


def test_what_a_killed_user_leaves_is_removed_by_the_next(ns: Namespace) -> None:
    before = ns.qdiscs("nic", egress=False)
    User(ns, "nic", "silent").kill()
    user = User(ns, "nic", "fast")
    assert user.said == "nic fast attached"
    user.end()
    assert ns.qdiscs("nic", egress=False) == before and pins() == []


def test_by_force_under_a_user(ns: Namespace) -> None:
    before = ns.qdiscs("nic", egress=False)
    user = User(ns, "nic", "silent")
    ns.policy("detach", "--dev", "nic", "--force")
    assert ns.qdiscs("nic", egress=False) == before and pins() == []
    user.end()


def test_the_device_goes_under_a_user(ns: Namespace) -> None:
    user = User(ns, "nic", "silent")
    ns.run("ip", "link", "delete", "nic")
    user.end()
    assert pins() == []


def take_program(ns: Namespace) -> None:
    if ns.show("nic")["hook"] == "clsact":
        ns.run("tc", "qdisc", "del", "dev", "nic", "clsact")
    else:
        (pin,) = PINS.glob("*-nic/link")
        subprocess.run(["/usr/sbin/bpftool", "link", "detach", "pinned", pin], check=True, timeout=TIMEOUT)


def take_fq(ns: Namespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "8:", "pfifo", "limit", "55")


@pytest.mark.parametrize("take, what", [(take_program, "the tc program"), (take_fq, "fq")], ids=["program", "fq"])
def test_what_somebody_took_away_is_put_back(ns: Namespace, take: Callable[[Namespace], None], what: str) -> None:
    ns.policy("attach", "--dev", "nic", "--policy", "fast", "--link", "1gbit")
    ns.policy("set", "--dev", "nic", "use=50%")
    take(ns)
    before = ns.qdiscs("nic")
    broken = ns.show("nic")
    assert (broken["in_place"], broken["missing"]) == (False, what)
    assert f"somebody took {what} away" in ns.policy("show").stdout
    user = User(ns, "nic", "silent")
    assert user.said == "nic fast joined"
    whole = ns.show("nic")
    assert whole["in_place"] and whole["lasting"] and (whole["policy"], whole["target"]) == ("fast", 62_500_000)
    assert [q["kind"] for q in ns.qdiscs("nic")] == ["fq"]
    user.end()
    take(ns)
    ns.policy("attach", "--dev", "nic")
    assert ns.show("nic")["in_place"] and ns.show("nic")["policy"] == "silent"
    ns.policy("detach", "--dev", "nic")
    if take is take_fq:
        assert ns.qdiscs("nic") == before
    assert pins() == []


@pytest.mark.parametrize("take, what", [(take_program, "the tc program"), (take_fq, "fq")], ids=["program", "fq"])
def test_what_somebody_took_away_under_a_user_is_refused(ns: Namespace, take: Callable[[Namespace], None], what: str) -> None:
    first = User(ns, "nic", "silent")
    take(ns)
    second = User(ns, "nic", "silent")
    assert f"somebody took {what} off nic" in second.process.communicate("", timeout=TIMEOUT)[1]
    assert second.process.returncode == 1
    first.end()
    assert pins() == []


def test_what_cannot_be_put_back_is_said(ns: Namespace) -> None:
    ns.policy("attach", "--dev", "nic")
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "7:", "tbf", "rate", "1gbit", "burst", "128k", "latency", "50ms")
    user = User(ns, "nic", "silent")
    error = user.process.communicate("", timeout=TIMEOUT)[1]
    assert "could not be put back" in error and "'tbf 7:'" in error
    assert pins() == [] and [q["kind"] for q in ns.qdiscs("nic", egress=False)] == ["tbf"]


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
def test_the_nic_towards_the_peer(ns: Namespace, far: Namespace, over: Callable[[Namespace, Namespace], str]) -> None:
    """Where its packets wait is the NIC, whatever is between."""
    address = over(ns, far)
    server = far.start("/usr/bin/python3", "-u", "-c", "import socket, sys, time\n"
                       "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
                       "s = socket.create_server((sys.argv[1], 7777), family=family); print('up'); c = s.accept(); time.sleep(600)",
                       address)
    try:
        assert server.stdout.readline().strip() == "up"
        user = User(ns, "--peer", address, "7777", "silent", "125000000")
        assert user.said == "nic silent attached"
        user.end()
        assert pins() == []
    finally:
        server.kill()
        server.communicate(timeout=TIMEOUT)


def test_killed_at_any_moment(ns: Namespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "5:", "pfifo", "limit", "77")
    before = ns.qdiscs("nic", egress=False)
    begun = time.monotonic()
    ns.policy("attach", "--dev", "nic")
    whole = time.monotonic() - begun
    ns.policy("detach", "--dev", "nic")
    parts, partly = 24, 0
    for part in range(parts):
        attach = ns.start(str(GCCTL), "policy", "attach", "--dev", "nic")
        time.sleep(whole * part / parts)
        attach.send_signal(signal.SIGKILL)
        attach.communicate(timeout=TIMEOUT)
        partly += bool(pins())
        ns.policy("detach", "--all")
        assert ns.qdiscs("nic", egress=False) == before and pins() == [] and ns.filters("nic") == "", part
    print(f"{partly} of {parts} were killed with something in place")


def test_a_lost_namespace_leaves_nothing_that_stays(ns: Namespace) -> None:
    ns.policy("attach", "--dev", "nic")
    subprocess.run(["ip", "netns", "delete", "gc-near"], check=True, timeout=TIMEOUT)
    assert pins() != []
    # The kernel takes a namespace's devices down some time after its last user.
    deadline = time.monotonic() + TIMEOUT
    while pins() and time.monotonic() < deadline:
        subprocess.run([GCCTL, "policy", "detach", "--all"], check=True, timeout=TIMEOUT)
    assert pins() == []
