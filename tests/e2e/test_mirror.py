# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide is shown what arrives for its VM at the destination, and answers nobody."""

import signal

import pytest
from gclab import demo_guest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_REFUSED
from gclab.redis import Redis, RedisClient
from gclab.tap_network import TapNetwork
from gclab.testbed import Testbed
from gclab.vm import Spec
from gclab.wait import wait_for


class Client(RedisClient):
    KEYS = 2000


def test_the_guide_works_on_the_requests_of_its_vm(testbed: Testbed, network: TapNetwork) -> None:
    source = testbed.start(network.spec("s"))
    source.wait_console(demo_guest.READY, 60 * SLOW)
    clients = [Client(network.vm, seed) for seed in range(3)]
    clients[0].fill()
    for client in clients:
        client.start()
    wait_for("the server answers", lambda: all(client.answered() > 20 for client in clients), 20 * SLOW)
    migration = testbed.migrate(source, network.spec("d"), "--mirror", "on", "--hold-background", "900s", guide="on")
    migration.migrate.wait_event("guide-runs")
    migration.migrate.wait_event("resumed")
    before = [client.answered() for client in clients]
    wait_for("the VM answers its clients at the destination",
             lambda: all(client.answered() > count + 50 for client, count in zip(clients, before, strict=True)), 40 * SLOW)
    # A connection that begins at the destination: its sequence numbers at the guide are others.
    fresh = Redis(network.vm)
    for number in range(30):
        assert fresh.command("set", f"fresh:{number}", "x" * 100) == b"+OK"
        assert fresh.command("get", f"fresh:{number}") == b"x" * 100
    # Large ones are GSO packets, both ways.
    assert fresh.command("set", "large", "y" * 150_000) == b"+OK"
    assert fresh.command("get", "large") == b"y" * 150_000
    fresh.close()
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(network.spec("d"), 120)
    for client in clients:
        client.stop()
        assert not client.error(), client.error()
    mirrored, sent = report["guide"]["mirror"], report["guide"]["sent"]
    assert (mirrored["on"], mirrored["reason"], mirrored["nics"]) == (True, "", 1)
    assert mirrored["packets"] >= 200 and mirrored["bytes"] > mirrored["packets"] * 54
    # Its answers went into the quarantine; had they reached a client, that would have seen two.
    assert sent["ipv4"] > 60
    assert mirrored["connections"] >= 4 and mirrored["in_step"] == mirrored["connections"]
    assert mirrored["dead"] == 0 and mirrored["dropped"] == 0
    progress = [event["mirror"] for event in migration.migrate.events() if event["event"] == "progress" and "mirror" in event]
    assert progress[-1]["packets"] > 0 and progress[-1]["dead"] == 0


def test_what_cannot_be_mirrored_is_named(testbed: Testbed) -> None:
    nic = ("-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,id=front,romfile=")
    spec = Spec(args=nic)
    source = testbed.start_source(spec)
    refused = testbed.migrate(source, spec, "--mirror", "on", guide="on")
    assert refused.migrate.wait() == EXIT_REFUSED
    assert "NIC 'front': its back end is 'user', not a tap" in refused.migrate.errors()
    assert source.status() == "running"
    refused.receive.end()
    refused.destination.end()
    report = testbed.migrate_completely(source, spec, guide="on")
    mirrored = report["guide"]["mirror"]
    assert not mirrored["on"] and "NIC 'front': its back end is 'user', not a tap" in mirrored["reason"]
    assert mirrored["packets"] == 0
