# SPDX-License-Identifier: GPL-2.0-or-later
"""The example of a custom policy (bpf/examples) does what it documents."""

from conftest import PolicyNamespace, pins
from gclab.environment import CMAKE_TREE, PYTHON

FIXED = CMAKE_TREE / "bpf" / "examples" / "fixed.bpf.o"
MARK = 0x67630000
GUIDE, BACKGROUND = 1, 3


def test_fixed_gives_each_class_its_cap(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    ns.policy("attach", "--dev", "nic", "--object", str(FIXED))
    ns.policy("set", "--dev", "nic", "class.guide.floor=10kbit", "class.guide.cap=20kbit", "horizon=2s")
    ns.ping()  # resolves the neighbour
    ns.send(MARK + GUIDE, 10)
    ns.send(MARK + BACKGROUND, 10)
    classes = ns.show("nic")["classes"]
    assert classes["guide"]["packets"] == classes["background"]["packets"] == 10
    # 142 bytes take 57 ms at 20 kbit/s: each packet after the first one waits for those before it, unless a busy host was
    # longer about sending it.
    assert classes["guide"]["delayed"] >= 7
    assert classes["guide"]["delay_max_us"] > 5 * 57_000
    assert classes["background"]["delay_max_us"] < 1000
    assert classes["tenants"]["packets"] >= 1 and classes["tenants"]["delayed"] == 0
    ns.policy("detach", "--dev", "nic")
    assert ns.qdiscs("nic") == before and pins() == []


def test_fixed_drops_packets_beyond_the_horizon(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic", "--object", str(FIXED))
    # 142 bytes take 11 ms: the first five packets depart before the horizon, however slowly the others arrive.
    ns.policy("set", "--dev", "nic", "class.guide.floor=50kbit", "class.guide.cap=100kbit", "horizon=50ms")
    ns.ping()
    ns.send(MARK + GUIDE, 200)
    guide = ns.show("nic")["classes"]["guide"]
    assert guide["packets"] >= 5 and guide["drops"] > 0 and guide["packets"] + guide["drops"] == 200
    assert guide["delay_max_us"] <= 50_000
    ns.policy("detach", "--dev", "nic")


# As TCP's own pacing: packets that already have a later departure time.
SEND_LATER = """
import socket, struct, sys, time
SO_TXTIME, NS = 61, 10**9
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(sys.argv[1]))
s.setsockopt(socket.SOL_SOCKET, SO_TXTIME, struct.pack("iI", time.CLOCK_MONOTONIC, 0))
later = struct.pack("Q", time.monotonic_ns() + 5 * NS)
for _ in range(10):
    s.sendmsg([b"x" * 100], [(socket.SOL_SOCKET, SO_TXTIME, later)], 0, ("10.9.0.2", 9))
"""


def test_fixed_does_not_advance_a_departure_time(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic", "--object", str(FIXED))
    ns.policy("set", "--dev", "nic", "class.guide.floor=50kbit", "class.guide.cap=100kbit")
    ns.ping()
    ns.run(PYTHON, "-c", SEND_LATER, str(MARK + GUIDE))
    guide = ns.show("nic")["classes"]["guide"]
    assert (guide["packets"], guide["delayed"]) == (10, 0)
    ns.policy("detach", "--dev", "nic")
