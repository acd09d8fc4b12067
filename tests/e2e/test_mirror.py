# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide is shown what arrives for its VM at the destination, and answers nobody."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gclab import demo_guest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_REFUSED
from gclab.network import HERE
from gclab.qemu import tap
from gclab.redis import Redis, RedisClient
from gclab.testbed import Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

VM = "10.19.0.2"


class Client(RedisClient):
    KEYS = 2000


@dataclass
class Network:
    """A bridge on this host with a tap for each QEMU: clients are outside of the VM."""

    suffix: str

    @property
    def bridge(self) -> str:
        return f"gcb{self.suffix}"

    def tap(self, end: str) -> str:
        return f"gc{end}{self.suffix}"

    def spec(self, end: str) -> Spec:
        return demo_guest.spec(f"ip={VM}/24", "batch=0", ram_mib=192, args=tap(self.tap(end)))

    def create(self) -> None:
        HERE.bridge(self.bridge)
        HERE.address(self.bridge, "10.19.0.1/24")
        for end in ("s", "d"):
            HERE.tap(self.tap(end))
            HERE.plug(self.tap(end), self.bridge)

    def delete(self) -> None:
        for link in (self.tap("s"), self.tap("d"), self.bridge):
            HERE.ip("link", "del", link)


@pytest.fixture
def network(testbed: Testbed) -> Iterator[Network]:
    network = Network(testbed.directory.name[-4:])
    network.create()
    yield network
    testbed.close()  # QEMU holds the taps
    network.delete()


def test_the_guide_works_on_the_requests_of_its_vm(testbed: Testbed, network: Network) -> None:
    source = testbed.start(network.spec("s"))
    source.wait_console(demo_guest.READY, 60 * SLOW)
    clients = [Client(VM, seed) for seed in range(3)]
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
    fresh = Redis(VM)
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
