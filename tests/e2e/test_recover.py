# SPDX-License-Identifier: GPL-2.0-or-later
"""A migration whose gcctls have died after the commit is finished by `gcctl recover`."""

import json
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE, EXIT_NEEDS_OPERATOR, EXIT_REFUSED, Gcctl, run, state_env
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec, Vm
from gclab.wait import wait_for

SPEC = Spec(ram_mib=96, append="mode=check size=16M cold=30M")
# 30 MiB, which a running VM does not request, take 10 s.
SLOW_POSTCOPY = ("--bandwidth", "3M")


def status(testbed: Testbed) -> list[dict[str, Any]]:
    done = run("status", "--json", env=state_env(testbed.directory))
    assert done.returncode == EXIT_DONE, done.stderr
    migrations: list[dict[str, Any]] = json.loads(done.stdout)
    return migrations


def of(testbed: Testbed, role: str) -> dict[str, Any]:
    return next(migration for migration in status(testbed) if migration["role"] == role)


def start(testbed: Testbed, spec: Spec = SPEC) -> Migration:
    """The VM runs at the destination and lacks most of its memory."""
    source = testbed.start_source(spec)
    source.make_vcpus_nice()
    migration = testbed.migrate(source, spec, *SLOW_POSTCOPY)
    migration.migrate.wait_event("resumed")
    time.sleep(0.3 * SLOW)
    return migration


def kill(migration: Migration, *who: str) -> None:
    """Kills some gcctls, and waits until both have ended."""
    for name in who:
        getattr(migration, name).signal(signal.SIGKILL)
    for name in ("migrate", "receive"):
        gcctl = getattr(migration, name)
        if name not in who:
            with suppress(subprocess.TimeoutExpired):
                gcctl.wait(3)  # it may wait for the other one to come back
            gcctl.signal(signal.SIGTERM)
            assert gcctl.wait() == EXIT_NEEDS_OPERATOR, gcctl.errors()
        else:
            gcctl.wait()


def start_paused(testbed: Testbed, spec: Spec = SPEC) -> Migration:
    """The VM was paused at the source, and is at the destination, where it requests nothing: --bandwidth limits how long a
    recovery takes. A running one could not be stopped there: QEMU's `stop` waits for a vCPU that waits for a page."""
    source = testbed.start_source(spec)
    source.command("stop")
    migration = testbed.migrate(source, spec, *SLOW_POSTCOPY)
    migration.migrate.wait_event("resumed")
    time.sleep(0.3 * SLOW)
    kill(migration, "migrate", "receive")
    return migration


class Recovery:
    """`gcctl recover` at both ends."""

    def __init__(self, testbed: Testbed, source: Vm, destination: Vm) -> None:
        self.testbed, self.source, self.destination = testbed, source, destination
        ends = {migration["role"]: migration for migration in status(testbed)}
        self.was_paused = ends.get("destination", {}).get("qemu", {}).get("status") == "paused"

    def receive(self, port: int = 0) -> Gcctl:
        return self.testbed.gcctl("recover", "receive", "--qmp", self.destination.gcctl_qmp(), "--listen", f"127.0.0.1:{port}")

    def migrate(self, port: int, *options: str) -> Gcctl:
        return self.testbed.gcctl("recover", "migrate", "--qmp", self.source.gcctl_qmp(), "--to", f"127.0.0.1:{port}", *options)

    def both(self, *options: str) -> tuple[Gcctl, Gcctl]:
        receive = self.receive()
        return self.migrate(receive.wait_event("listening")["port"], *options), receive

    def check_completed(self, migrate: Gcctl, receive: Gcctl) -> None:
        assert migrate.wait() == EXIT_DONE, migrate.errors()
        assert receive.wait(20) == EXIT_DONE, receive.errors()
        assert self.source.migration_status() == "completed"
        assert self.source.status() == "postmigrate"
        assert self.destination.migration_status() == "completed"
        if self.was_paused:
            assert self.destination.status() == "paused"
            self.destination.command("cont")
        assert self.destination.status() == "running"
        self.destination.wait_running(passes=2)
        assert status(self.testbed) == []
        assert [file for file in self.testbed.temporary_files() if "recover" in file] == []


@pytest.mark.parametrize("killed", [pytest.param(("migrate", "receive"), marks=pytest.mark.both), ("migrate",), ("receive",)],
                         ids="+".join)
def test_gcctls_killed(testbed: Testbed, killed: tuple[str, ...]) -> None:
    migration = start(testbed)
    kill(migration, *killed)
    for role in ("source", "destination"):
        stranded = of(testbed, role)
        assert stranded["standing"] == "stranded" and stranded["phase"] == "running"
        assert stranded["type"][0].startswith("gcctl recover " + {"source": "migrate", "destination": "receive"}[role])
    recovery = Recovery(testbed, migration.source, migration.destination)
    recovery.check_completed(*recovery.both())


@pytest.mark.long
@pytest.mark.parametrize("memory", ["memfd", "plain"])
def test_recovery_killed_and_repeated(testbed: Testbed, memory: str) -> None:
    """Both gcctls of the recovery are killed on their way, together and one by one."""
    migration = start_paused(testbed, SPEC.but(memory_type=memory))
    recovery = Recovery(testbed, migration.source, migration.destination)
    missing = None
    for killed in (("migrate", "receive"), ("receive", "migrate")):
        migrate, receive = recovery.both("--bandwidth", "2M")
        connected = receive.wait_event("connected")
        assert missing is None or connected["missing"] < missing
        missing = connected["missing"]
        time.sleep(0.7 * SLOW)
        gcctls = {"migrate": migrate, "receive": receive}
        for name in killed:
            gcctls[name].signal(signal.SIGKILL)
            gcctls[name].wait()
            time.sleep(0.2)
    recovery.check_completed(*recovery.both())


def start_recovery(testbed: Testbed) -> tuple[Recovery, Gcctl, Gcctl, int]:
    """A recovery on its way: its gcctls at both ends, and the port."""
    migration = start_paused(testbed)
    recovery = Recovery(testbed, migration.source, migration.destination)
    migrate, receive = recovery.both("--bandwidth", "2M")
    port = receive.wait_event("listening")["port"]
    receive.wait_event("connected")
    time.sleep(0.5 * SLOW)
    return recovery, migrate, receive, port


def test_source_of_a_recovery_replaced(testbed: Testbed) -> None:
    """The destination's gcctl stays; the source's dies, and another one takes its place."""
    recovery, migrate, receive, port = start_recovery(testbed)
    migrate.signal(signal.SIGKILL)
    migrate.wait()
    recovery.check_completed(recovery.migrate(port), receive)


@pytest.mark.long
def test_destination_of_a_recovery_replaced(testbed: Testbed) -> None:
    """The source's gcctl stays, and connects to the destination's next one."""
    recovery, migrate, receive, port = start_recovery(testbed)
    receive.signal(signal.SIGKILL)
    receive.wait()
    wait_for("the source has noticed", lambda: migrate.event("warning"), 10 * SLOW)
    recovery.check_completed(migrate, recovery.receive(port))


def test_recovery_interrupted(testbed: Testbed) -> None:
    migration = start_paused(testbed)
    recovery = Recovery(testbed, migration.source, migration.destination)
    migrate, receive = recovery.both("--bandwidth", "2M")
    receive.wait_event("connected")
    for gcctl in (migrate, receive):
        gcctl.signal(signal.SIGTERM)
        assert gcctl.wait() == EXIT_NEEDS_OPERATOR
        assert "run the same command again" in gcctl.errors()
    recovery.check_completed(*recovery.both())


def test_by_record(testbed: Testbed) -> None:
    """What the systemd unit does: the record has the command line."""
    migration = start(testbed)
    port = migration.receive.wait_event("listening")["port"]
    kill(migration, "migrate", "receive")
    # It listened on port 0, so that another port would be free now.
    receive = Recovery(testbed, migration.source, migration.destination).receive(port)
    receive.wait_event("listening")
    name = of(testbed, "source")["id"] + ".source"
    done = run("recover", "record", name, env=state_env(testbed.directory), timeout=60 * SLOW)
    assert done.returncode == EXIT_DONE, done.stderr
    assert receive.wait() == EXIT_DONE


def test_decided_but_not_started(testbed: Testbed) -> None:
    """gcctl receive died after it had written that the VM runs here, and before it let it run."""
    migration = start_paused(testbed)
    path, = (testbed.directory / "state").glob("*.destination.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"phase": "committed", "runs": True}))
    assert of(testbed, "destination")["what"].startswith("the VM was handed over and not yet started")
    recovery = Recovery(testbed, migration.source, migration.destination)
    recovery.was_paused = False
    recovery.check_completed(*recovery.both())


def test_paused_vm_stays_paused(testbed: Testbed) -> None:
    migration = start_paused(testbed)
    migrate, receive = Recovery(testbed, migration.source, migration.destination).both()
    assert (migrate.wait(), receive.wait()) == (EXIT_DONE, EXIT_DONE)
    assert migration.destination.status() == "paused"
    migration.destination.command("cont")
    migration.destination.wait_running(passes=2)


@pytest.mark.long
def test_source_qemu_dies_in_a_recovery(testbed: Testbed) -> None:
    """Its memory is a file, which the recovery has open."""
    migration = start_paused(testbed)
    recovery = Recovery(testbed, migration.source, migration.destination)
    migrate, receive = recovery.both("--bandwidth", "2M")
    receive.wait_event("connected")
    time.sleep(0.7 * SLOW)
    migration.source.process.kill()
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert receive.wait() == EXIT_DONE, receive.errors()
    migration.destination.command("cont")
    migration.destination.wait_running(passes=2)


def test_other_vm_refused(testbed: Testbed) -> None:
    """Nothing is sent to a destination QEMU that belongs to another migration."""
    first = start(testbed)
    kill(first, "migrate", "receive")
    second = start(testbed)
    kill(second, "migrate", "receive")
    receive = Recovery(testbed, first.source, first.destination).receive()
    port = receive.wait_event("listening")["port"]
    wrong = Recovery(testbed, second.source, second.destination).migrate(port)
    assert wrong.wait() == EXIT_NEEDS_OPERATOR
    assert "but the destination QEMU there is of migration" in wrong.errors()
    migrate = Recovery(testbed, first.source, first.destination).migrate(port)
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert receive.wait() == EXIT_DONE
    first.destination.wait_running()


def test_not_broken(testbed: Testbed) -> None:
    """A QEMU that has nothing to recover is not touched."""
    source = testbed.start_source(SPEC)
    recovery = Recovery(testbed, source, source)
    for gcctl in (recovery.receive(), recovery.migrate(1)):
        assert gcctl.wait() == EXIT_REFUSED
        assert "gcctl status" in gcctl.errors()
    assert source.status() == "running"


def test_living_gcctl_is_left_alone(testbed: Testbed) -> None:
    migration = start(testbed)
    for role, gcctl in (("source", migration.migrate), ("destination", migration.receive)):
        live = of(testbed, role)
        assert live["standing"] == "live" and live["gcctl"] == {"pid": gcctl.process.pid, "alive": True}
    migration.migrate.signal(signal.SIGKILL)
    migration.receive.signal(signal.SIGKILL)


def test_migrate_against_a_recovery(testbed: Testbed) -> None:
    """`gcctl migrate` is told that it is the wrong command."""
    migration = start(testbed)
    kill(migration, "migrate", "receive")
    receive = Recovery(testbed, migration.source, migration.destination).receive()
    port = receive.wait_event("listening")["port"]
    other = testbed.start_source(SPEC)
    gcctl, _ = testbed.migrate_to(other, port)
    assert gcctl.wait() == EXIT_REFUSED
    assert "gcctl recover receive" in gcctl.errors()
    assert other.status() == "running"
