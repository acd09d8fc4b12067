# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM that stands still at the source, and never ran at the destination, runs on there by `gcctl take-back`."""

import json
import os
import signal
import subprocess
from typing import Any

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, run, state_env
from gclab.processes import children
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

# The second connection: it carries the stream and its return path.
MAIN_CHANNEL = 1


def gcctl(testbed: Testbed, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(*arguments, env=state_env(testbed.directory), timeout=40 * SLOW)


def status(testbed: Testbed) -> dict[str, dict[str, Any]]:
    """By role."""
    done = gcctl(testbed, "status", "--json")
    assert done.returncode == EXIT_DONE, done.stderr
    return {migration["role"]: migration for migration in json.loads(done.stdout)}


def strand(testbed: Testbed) -> Migration:
    """gcctl migrate and its guardian die together between switch-over and commit."""
    spec = Spec()
    migration = testbed.migrate(testbed.start_source(spec), spec, proxy={"mute": (MAIN_CHANNEL,)}, reconnect_limit=1 * SLOW)
    migration.migrate.wait_event("switch-over")
    pid = migration.migrate.process.pid
    for process in [*children(pid), pid]:
        os.kill(process, signal.SIGSTOP)  # so that none of them sees another's end
    for process in [*children(pid), pid]:
        os.kill(process, signal.SIGKILL)
    migration.migrate.wait()
    migration.receive.wait()
    migration.destination.wait_end()
    source = migration.source
    wait_for("the source QEMU has noticed", lambda: source.migration_status() == "postcopy-paused", 10 * SLOW)
    return migration


def pretend(testbed: Testbed, role: str, **changes: Any) -> None:
    """Changes a record."""
    path, = (testbed.directory / "state").glob(f"*.{role}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forget(testbed: Testbed, role: str) -> None:
    """As if that end were on another host."""
    path, = (testbed.directory / "state").glob(f"*.{role}.json")
    path.unlink()


def check_runs_on(testbed: Testbed, migration: Migration, *verdict: str) -> None:
    done = gcctl(testbed, "take-back", "--qmp", migration.source.gcctl_qmp(), *verdict)
    assert done.returncode == EXIT_DONE, done.stderr
    assert migration.source.status() == "running"
    migration.source.wait_running(passes=2)
    assert migration.source.has_settings_of_start()
    assert "source" not in status(testbed)


def test_not_handed_over(testbed: Testbed) -> None:
    """The record proves that the commit was never sent: no verdict is needed."""
    migration = strand(testbed)
    seen = status(testbed)
    assert seen["source"]["standing"] == "stranded" and seen["source"]["phase"] == "switched-over"
    verdict = seen["destination"]["verdict"]
    assert verdict == f"never-ran:{seen['source']['id']}"
    assert f"--verdict {verdict}" in migration.receive.errors()
    forget(testbed, "destination")
    check_runs_on(testbed, migration)
    # It can be migrated again.
    testbed.migrate_completely(migration.source, Spec())


def test_commit_lost(testbed: Testbed) -> None:
    """It was sent, says the record, and did not arrive: the destination's verdict decides."""
    migration = strand(testbed)
    verdict = status(testbed)["destination"]["verdict"]
    pretend(testbed, "source", phase="committed")
    forget(testbed, "destination")
    qmp = migration.source.gcctl_qmp()
    for given, exit_status, says in (((), EXIT_REFUSED, "run 'gcctl status' on the host of"),
                                     (("--verdict", "never-ran:0123456789abcdef"), EXIT_REFUSED, "is of migration"),
                                     (("--verdict", "it ran"), EXIT_USAGE, "invalid verdict")):
        refused = gcctl(testbed, "take-back", "--qmp", qmp, *given)
        assert refused.returncode == exit_status and says in refused.stderr, refused.stderr
        assert migration.source.migration_status() == "postcopy-paused"
    check_runs_on(testbed, migration, "--verdict", verdict)


@pytest.mark.long
def test_destination_on_this_host(testbed: Testbed) -> None:
    """Its record has the verdict."""
    migration = strand(testbed)
    pretend(testbed, "source", phase="committed")
    check_runs_on(testbed, migration)


@pytest.mark.long
@pytest.mark.parametrize("role,phase", [("source", "running"), ("destination", "committed"), ("destination", "running")])
def test_ran_at_the_destination(testbed: Testbed, role: str, phase: str) -> None:
    """No verdict that is typed prevails against a record."""
    migration = strand(testbed)
    verdict = status(testbed)["destination"]["verdict"]
    pretend(testbed, "source", phase="committed")
    pretend(testbed, role, phase=phase)
    refused = gcctl(testbed, "take-back", "--qmp", migration.source.gcctl_qmp(), "--verdict", verdict)
    assert refused.returncode == EXIT_REFUSED, refused.stderr
    assert migration.source.migration_status() == "postcopy-paused"


def test_nothing_to_take_back(testbed: Testbed) -> None:
    spec = Spec()
    source = testbed.start_source(spec)
    done = gcctl(testbed, "take-back", "--qmp", source.gcctl_qmp())
    assert done.returncode == EXIT_DONE and "runs here" in done.stdout
    source.command("stop")
    refused = gcctl(testbed, "take-back", "--qmp", source.gcctl_qmp())
    assert refused.returncode == EXIT_REFUSED and "was not being migrated" in refused.stderr
    source.command("cont")
    testbed.migrate_completely(source, spec)
    refused = gcctl(testbed, "take-back", "--qmp", source.gcctl_qmp(), "--verdict", "never-ran:0123456789abcdef")
    assert refused.returncode == EXIT_REFUSED and "has moved" in refused.stderr
    assert source.status() == "postmigrate"


def test_no_migrations(testbed: Testbed) -> None:
    done = gcctl(testbed, "status")
    assert done.returncode == EXIT_DONE and done.stdout == "no migrations\n"


def test_records_of_a_completed_migration(testbed: Testbed) -> None:
    spec = Spec()
    testbed.migrate_completely(testbed.start_source(spec), spec)
    assert list((testbed.directory / "state").iterdir()) == []


@pytest.mark.long
def test_record_and_spare_are_private(testbed: Testbed) -> None:
    strand(testbed)
    directory = testbed.directory / "state"
    assert directory.stat().st_mode & 0o777 == 0o700
    files = list(directory.iterdir())
    assert len(files) == 4
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_forget(testbed: Testbed) -> None:
    strand(testbed)
    name = status(testbed)["source"]["id"]
    assert gcctl(testbed, "status", "--forget", name).returncode == EXIT_DONE
    assert status(testbed) == {}
    assert gcctl(testbed, "status", "--forget", name).returncode == EXIT_USAGE


def test_no_room_for_records(testbed: Testbed) -> None:
    """A warning before anything is touched, and no failure."""
    (testbed.directory / "state").write_text("no directory")
    spec = Spec()
    migration = testbed.migrate(testbed.start_source(spec), spec)
    migration.wait_completed(spec)
    warnings = [event for event in migration.migrate.events() if event["event"] == "warning"]
    assert any("no record of the migration" in str(event) for event in warnings)
    assert "no record of the migration" in migration.receive.errors()
