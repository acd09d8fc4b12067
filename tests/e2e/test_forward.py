# SPDX-License-Identifier: GPL-2.0-or-later
"""What arrives for the VM at the source while it stands still reaches it at the destination."""

from typing import Any

import pytest
from gclab import demo_guest
from gclab.environment import SLOW
from gclab.gcctl import Report
from gclab.pings import Pings
from gclab.tap_network import TapNetwork
from gclab.testbed import Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

# Bytes per second, at which the device state takes some hundred milliseconds. The VM stands still for as long.
RATE = 250_000


def migrate_under_pings(testbed: Testbed, network: TapNetwork, *options: str, guide: str = "off",
                        **proxy: Any) -> tuple[Report, int, int]:
    """Returns the report, and how many of the pings until the VM ran at the destination had no answer, or two."""
    source = testbed.start(network.spec("s"))
    source.wait_console(demo_guest.READY, 60 * SLOW)
    pings = Pings(network.vm)
    wait_for("the VM answers", lambda: pings.answered > 50, 20 * SLOW)
    spec = network.spec("d")
    migration = testbed.migrate(source, spec, *options, guide=guide, proxy={"rate": RATE, **proxy})
    migration.migrate.wait_event("resumed", 60)
    assert migration.proxy
    migration.proxy.full_speed()
    lost, twice = pings.stop(3 * SLOW)
    return migration.wait_completed(spec, 120), lost, twice


def test_what_arrives_while_the_vm_stands_still_reaches_it(testbed: Testbed, network: TapNetwork, guide: str) -> None:
    report, lost, twice = migrate_under_pings(testbed, network, guide=guide)
    forward = report["forward"]
    assert (forward["on"], forward["reason"], forward["nics"]) == (True, "", 1)
    assert forward["packets"] >= 20 and forward["bytes"] >= 42 * forward["packets"]
    assert (forward["delivered"], forward["dropped"], forward["refused"]) == (forward["packets"], 0, 0)
    # Those on their way in QEMU when it stops the VM are lost.
    assert lost < forward["packets"] / 4 and twice == 0


@pytest.mark.parametrize("how", ["off", "an older peer"])
def test_without_it_that_is_lost(testbed: Testbed, network: TapNetwork, how: str) -> None:
    report, lost, twice = migrate_under_pings(testbed, network, *(("--forward", "off") if how == "off" else ()),
                                              newest=9 if how != "off" else None)
    forward = report["forward"]
    assert not forward["on"] and forward["packets"] == forward["delivered"] == forward["nics"] == 0
    assert forward["reason"] == ("--forward off" if how == "off" else "the destination's gcctl is older and delivers none")
    assert lost >= 20 and twice == 0


def test_what_cannot_be_forwarded_is_named(testbed: Testbed) -> None:
    nic = ("-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,id=front,romfile=")
    spec = Spec(args=nic)
    report = testbed.migrate_completely(testbed.start_source(spec), spec)
    forward = report["forward"]
    assert not forward["on"] and forward["reason"] == "NIC 'front': its back end is 'user', not a tap"
