# SPDX-License-Identifier: GPL-2.0-or-later
"""Detach restores the qdisc that attach replaced."""

from typing import Any

import pytest
from conftest import PolicyNamespace, pins
from gclab.environment import PYTHON

# A persistent tap with several queues.
MAKE_TAP = """
import fcntl, struct
IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE, TUNSETIFF, TUNSETPERSIST = 2, 0x1000, 0x100, 0x400454ca, 0x400454cb
fd = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"multi", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE))
fcntl.ioctl(fd, TUNSETPERSIST, 1)
"""


@pytest.mark.parametrize("qdisc", ["pfifo limit 77", "bfifo limit 77000", "handle 5: pfifo_fast", "sfq perturb 7 limit 99",
                                   "fq_codel limit 999 flows 64 target 7ms interval 90ms noecn",
                                   "codel limit 500 target 9ms ecn", "handle 77: pie limit 500 target 20ms"])
def test_a_configured_qdisc_is_restored(ns: PolicyNamespace, qdisc: str) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", *qdisc.split())
    before = ns.qdiscs("nic")
    ns.policy("attach", "--dev", "nic")
    assert [q["kind"] for q in ns.egress_qdiscs("nic")] == ["fq"]
    ns.policy("detach", "--dev", "nic")
    assert ns.qdiscs("nic") == before
    ns.ping()


def test_an_existing_fq_stays_as_it_is(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "9:", "fq", "flow_limit", "33", "limit", "777")
    before = ns.egress_qdiscs("nic")
    ns.policy("attach", "--dev", "nic")
    assert ns.egress_qdiscs("nic") == before
    ns.policy("detach", "--dev", "nic")
    assert ns.egress_qdiscs("nic") == before


def test_a_default_mq(ns: PolicyNamespace) -> None:
    # A veth's default is noqueue. A tap with several queues has mq, as every device with queues and a queue length.
    ns.run(PYTHON, "-c", MAKE_TAP)
    ns.run("ip", "link", "set", "multi", "up")
    before = ns.egress_qdiscs("multi")
    assert [q["kind"] for q in before if q.get("root")] == ["mq"], before
    ns.policy("attach", "--dev", "multi", "--link", "1gbit")
    assert {q["kind"] for q in ns.egress_qdiscs("multi")} == {"mq", "fq"}
    ns.policy("detach", "--dev", "multi")
    assert ns.egress_qdiscs("multi") == before and pins() == []


def test_mq_gets_fq_under_each_class(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "1:", "mq")
    ns.run("tc", "qdisc", "replace", "dev", "nic", "parent", "1:2", "handle", "22:", "fq_codel", "limit", "333", "flows", "32")
    ns.run("tc", "qdisc", "replace", "dev", "nic", "parent", "1:3", "handle", "33:", "fq", "flow_limit", "44")
    before = ns.egress_qdiscs("nic")
    assert len(before) == 5, before
    ns.policy("attach", "--dev", "nic")
    assert sorted(q["kind"] for q in ns.egress_qdiscs("nic")) == ["fq"] * 4 + ["mq"]
    assert any(q["handle"] == "33:" and q["options"]["flow_limit"] == 44 for q in ns.egress_qdiscs("nic"))
    ns.ping()
    ns.policy("detach", "--dev", "nic")

    def order(qdisc: dict[str, Any]) -> tuple[str, str]:
        return qdisc.get("parent", ""), qdisc["handle"]

    assert sorted(ns.egress_qdiscs("nic"), key=order) == sorted(before, key=order)
    ns.ping()


@pytest.mark.parametrize("qdisc", ["htb default 1", "prio", "tbf rate 1mbit burst 10k limit 10k", "netem delay 1ms"])
def test_a_qdisc_that_cannot_be_restored_is_refused_by_name(ns: PolicyNamespace, qdisc: str) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "7:", *qdisc.split())
    refused = ns.policy("attach", "--dev", "nic", check=False)
    assert refused.returncode == 3 and f"'{qdisc.split()[0]} 7:'" in refused.stderr and "tc qdisc del" in refused.stderr
    # Its options include packet counts, so they are not compared.
    assert [(q["kind"], q["handle"]) for q in ns.qdiscs("nic")] == [(qdisc.split()[0], "7:")] and pins() == []


def test_a_qdisc_with_filters_is_refused(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "7:", "sfq")
    ns.run("tc", "filter", "add", "dev", "nic", "parent", "7:", "protocol", "ip", "prio", "5", "matchall", "classid", "7:1")
    refused = ns.policy("attach", "--dev", "nic", check=False)
    assert refused.returncode == 3 and "filters" in refused.stderr and pins() == []


def test_a_qdisc_that_somebody_else_put_there_stays(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    ns.run("tc", "qdisc", "replace", "dev", "nic", "root", "handle", "8:", "pfifo", "limit", "55")
    before = ns.egress_qdiscs("nic")
    ns.policy("detach", "--dev", "nic")
    assert ns.egress_qdiscs("nic") == before
