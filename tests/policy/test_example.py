# SPDX-License-Identifier: GPL-2.0-or-later
"""The example of a policy of one's own does what it says."""

from conftest import TREE, Namespace, pins

FIXED = TREE / "build" / "userspace" / "bpf" / "examples" / "fixed.bpf.o"
MARK = 0x67630000
GUIDE, BACKGROUND = 1, 3


def test_fixed_gives_each_class_its_cap(ns: Namespace) -> None:
    before = ns.qdiscs("nic", egress=False)
    ns.policy("attach", "--dev", "nic", "--object", str(FIXED))
    ns.policy("set", "--dev", "nic", "class.guide.floor=50kbit", "class.guide.cap=100kbit")
    ns.ping()  # the neighbour is known
    ns.send(MARK + GUIDE, 10)
    ns.send(MARK + BACKGROUND, 10)
    classes = ns.show("nic")["classes"]
    assert classes["guide"]["packets"] == classes["background"]["packets"] == 10
    # 142 bytes take 11 ms at 100 kbit/s: each packet after the first waits for those before it.
    assert classes["guide"]["delayed"] == 9
    assert classes["guide"]["delay_max_us"] > 5 * 11_000
    assert classes["background"]["delay_max_us"] < 1000
    assert classes["tenants"]["packets"] >= 1 and classes["tenants"]["delayed"] == 0
    ns.policy("detach", "--dev", "nic")
    assert ns.qdiscs("nic", egress=False) == before and pins() == []
