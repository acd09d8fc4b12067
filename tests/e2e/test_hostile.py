# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that are hostile, broken or unknown: exactly one VM runs afterwards, and each end says what happened."""

import json
import socket
import time
from collections.abc import Iterator

import pytest
from gclab import rogue
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE, EXIT_FAILED, Gcctl
from gclab.rogue import Impostor, Lines
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec, Vm
from gclab.wait import wait_for

EXIT_NEEDS_OPERATOR = 4
SMALL = Spec()


def line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


@pytest.fixture
def impostors() -> Iterator[list[Impostor]]:
    made: list[Impostor] = []
    yield made
    for impostor in made:
        impostor.close()


class Party:
    """A source and a destination with an impostor in between, over connections in clear."""

    def __init__(self, testbed: Testbed, impostors: list[Impostor], edit: object, *options: str, source_args: tuple[str, ...] = ()) -> None:
        self.source = testbed.start_source(SMALL, source_args)
        self.destination = testbed.start(SMALL, "destination", incoming=True)
        self.receive = testbed.receive(self.destination.gcctl_qmp(), "127.0.0.1")
        self.impostor = Impostor(self.receive.wait_event("listening")["port"], edit)  # type: ignore[arg-type]
        impostors.append(self.impostor)
        self.migrate, _ = testbed.migrate_to(self.source, self.impostor.port, *options)

    def running(self) -> list[str]:
        return [name for name, vm in (("source", self.source), ("destination", self.destination))
                if vm.process.poll() is None and vm.status() == "running"]


def check_only_source_runs(party: Party) -> None:
    wait_for("the source runs", lambda: party.source.status() == "running", 30 * SLOW)
    party.source.wait_running(passes=2)
    assert party.running() == ["source"]


def no_traceback(*gcctls: Gcctl) -> None:
    for gcctl in gcctls:
        assert gcctl.process.poll() is None or gcctl.process.returncode >= 0, "ended by a signal"
        assert "exception" not in gcctl.errors()


# Before the commit: the VM stays at the source.

MALFORMED = {
    "wrong type": b'{"type":"refused","reason":5}\n',
    "no UTF-8": b"\xff\xfe\n",
    "no JSON": b"HTTP/1.1 400 Bad Request\r\n",
    "no object": b"[1]\n",
    "out of order": b'{"type":"resumed"}\n',
    "too long": b"x" * 70000,
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_lines_to_the_source(testbed: Testbed, impostors: list[Impostor], what: str) -> None:
    party = Party(testbed, impostors, lambda who, text: Lines(to_source=MALFORMED[what]) if who == "destination" else None)
    assert party.migrate.wait() != EXIT_DONE
    check_only_source_runs(party)
    no_traceback(party.migrate, party.receive)


@pytest.mark.parametrize("text", [b'{"type":"commit","run":"yes"}\n', b'{"type":"abandon","reason":5}\n', b"\xff\xfe\n",
                                  b'{"type":"commit","run":true}\n', b"\x16\x03\x01\n", b"y" * 70000],
                         ids=["commit", "abandon", "no UTF-8", "out of order", "TLS", "too long"])
def test_a_malformed_source_costs_nothing(testbed: Testbed, text: bytes) -> None:
    """The destination takes the next source."""
    destination = testbed.start(SMALL, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    port = receive.wait_event("listening")["port"]
    stranger = rogue.connect(port, "control")
    assert json.loads(rogue.read_line(stranger))["type"] == "ready"
    stranger.sendall(text)
    assert rogue.read_line(stranger) == b"", "the connection ends"
    migrate_to(testbed, testbed.start_source(SMALL), destination, receive, port)
    no_traceback(receive)


def migrate_to(testbed: Testbed, source: Vm, destination: Vm, receive: Gcctl, port: int) -> None:
    migrate, report = testbed.migrate_to(source, port)
    Migration(source, destination, receive, migrate, report).wait_completed(SMALL)
    destination.wait_running()
    source.check()


# After the commit: the VM stays at the destination, and gets its memory.

def after_commit(text: bytes) -> object:
    def edit(who: str, said: bytes) -> Lines | None:
        if who == "source" and json.loads(said)["type"] == "commit":
            return Lines(to_source=text, to_destination=said)
        return None
    return edit


@pytest.mark.parametrize("text", [line(type="refused", reason="forged"),
                                  line(type="refused", reason="forged", proof="00" * 32),
                                  line(type="resumed", reason=5), line(type="failed", reason=5), b"\xff\xfe\n", b"[]\n",
                                  line(type="completed"), line(type="ready", qemu="x", preempt=False)],
                         ids=["refused", "false proof", "resumed", "failed", "no UTF-8", "no object", "completed", "ready"])
def test_forged_after_the_commit(testbed: Testbed, impostors: list[Impostor], text: bytes) -> None:
    party = Party(testbed, impostors, after_commit(text))
    status = party.migrate.wait()
    assert status in (EXIT_DONE, EXIT_NEEDS_OPERATOR), party.migrate.errors()
    assert party.receive.wait(20) == EXIT_DONE, party.receive.errors()
    party.destination.wait_running()
    party.destination.check()
    assert party.running() == ["destination"]
    no_traceback(party.migrate, party.receive)


def test_a_refusal_that_is_proved_takes_the_vm_back(testbed: Testbed, impostors: list[Impostor]) -> None:
    """The commit is lost, and the destination says with its proof that it will never run the VM."""

    def edit(who: str, said: bytes) -> Lines | None:
        if who == "source" and json.loads(said)["type"] == "commit":
            return Lines(to_destination=line(type="abandon", reason="the commit was lost"))
        return None

    party = Party(testbed, impostors, edit)
    assert party.migrate.wait() == EXIT_FAILED
    assert "refused" in party.migrate.errors()
    check_only_source_runs(party)
    party.destination.wait_end()


def test_a_reason_that_comes_late_is_heard(testbed: Testbed, impostors: list[Impostor]) -> None:
    """The destination's gcctl first ends its QEMU, which takes as long as the kernel needs to free the memory."""

    def edit(who: str, said: bytes) -> Lines | None:
        if who == "destination" and json.loads(said)["type"] == "refused":
            time.sleep(1.5)
        return None

    party = Party(testbed, impostors, edit, "--allow-differences", source_args=("-device", "virtio-rng-pci"))
    assert party.migrate.wait() == EXIT_FAILED
    assert "the destination refused the VM: the destination QEMU" in party.migrate.errors()
    check_only_source_runs(party)


# Strangers.

def test_versions_are_named(testbed: Testbed) -> None:
    destination = testbed.start(SMALL, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    port = receive.wait_event("listening")["port"]
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(line(guidecopy=11, newest=12, channel="control", token=rogue.TOKEN))
    answer = json.loads(rogue.read_line(connection))
    assert answer["type"] == "refused"
    assert "version 3 to 10" in answer["reason"] and "version 11 to 12" in answer["reason"]
    assert destination.status() == "inmigrate"


def test_each_channel_is_taken_once(testbed: Testbed) -> None:
    destination = testbed.start(SMALL, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    port = receive.wait_event("listening")["port"]
    control = rogue.connect(port, "control")
    rogue.read_line(control)
    with rogue.connect(port, "main"), rogue.connect(port, "main") as second, rogue.connect(port, "main", "b" * 32) as other:
        assert rogue.read_line(second) == b"", "the second one is closed"
        assert rogue.read_line(other) == b"", "that of another migration, too"
        with rogue.connect(port, "control") as busy:
            assert "busy" in json.loads(rogue.read_line(busy))["reason"]
        assert destination.status() == "inmigrate"
    assert "already open" in receive.errors()


def strangers(port: int) -> list[socket.socket]:
    """Connect and close, connect and stay silent, speak HTTP, half a hello."""
    silent = []
    for _ in range(25):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        silent.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as http:
            http.sendall(b"GET / HTTP/1.0\r\n\r\n")
        half = socket.create_connection(("127.0.0.1", port), timeout=10)
        half.sendall(b'{"guidecopy": 3, "chan')
        silent.append(half)
    return silent


@pytest.mark.parametrize("attempt", [0, 1, *(pytest.param(attempt, marks=pytest.mark.long) for attempt in range(2, 20))])
def test_a_hundred_strangers(testbed: Testbed, attempt: int) -> None:
    source = testbed.start_source(SMALL)
    destination = testbed.start(SMALL, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    port = receive.wait_event("listening")["port"]
    silent = strangers(port)
    try:
        migrate_to(testbed, source, destination, receive, port)
    finally:
        for each in silent:
            each.close()
    no_traceback(receive)
