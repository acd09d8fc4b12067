# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever fails before commit, the source runs on as if nothing had happened."""

import signal

import pytest
from harness.bench import Bench, Migration, links, namespaces
from harness.environment import SLOW
from harness.gcctl import EXIT_CANCELLED, EXIT_FAILED
from harness.vm import Spec, Vm
from harness.wait import wait_for

# Long enough to be interrupted: 128 MiB at 4 MiB/s.
SLOW_PRECOPY = ("--precopy-time", "600s", "--bandwidth", "4M")
# The connection that carries the stream and its return path, after the one of the two gcctls.
MAIN_CHANNEL = 1


class Before:
    """What must be the same again afterwards."""

    def __init__(self) -> None:
        self.links = links()
        self.namespaces = namespaces()


@pytest.fixture
def before() -> Before:
    return Before()


def check_source_runs_on(bench: Bench, before: Before, migration: Migration) -> None:
    source = migration.source
    wait_for("the source runs", lambda: source.status() == "running", 20 * SLOW)
    source.wait_running(passes=2)
    migration.destination.wait_end()
    migration.receive.wait(20)
    assert migration.receive.process.returncode != 0
    wait_for("nothing but the source is left", lambda: set(bench.processes()) == {source.pid}, 10 * SLOW)
    assert bench.temporary_files() == []
    assert links() == before.links
    assert namespaces() == before.namespaces


def check_failed(migration: Migration, result: str = "failed") -> None:
    report = migration.report()
    assert report["result"] == result
    assert report["error"]


def start_precopy(bench: Bench, guide: str, source: Vm, spec: Spec, **proxy: object) -> Migration:
    migration = bench.migrate(source, spec, *SLOW_PRECOPY, guide=guide, proxy=proxy or None)
    migration.migrate.wait_event("progress")
    return migration


def start_uncommitted(bench: Bench, guide: str) -> Migration:
    """Switched over, but the destination's answers get lost, so that commit cannot come."""
    spec = Spec()
    migration = bench.migrate(bench.start_source(spec), spec, guide=guide, proxy={"mute": (MAIN_CHANNEL,)})
    migration.migrate.wait_event("switch-over")
    return migration


def test_destination_refuses_device_state(bench: Bench, before: Before, guide: str) -> None:
    spec = Spec()
    source = bench.start_source(spec, source_args=("-device", "virtio-rng-pci"))
    migration = bench.migrate(source, spec, guide=guide)
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(bench, before, migration)


def test_connection_cut_in_precopy(bench: Bench, before: Before, guide: str) -> None:
    spec = Spec()
    migration = start_precopy(bench, guide, bench.start_source(spec), spec, cut_after=4 << 20)
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(bench, before, migration)


def test_connection_cut_at_switch_over(bench: Bench, before: Before, guide: str) -> None:
    migration = start_uncommitted(bench, guide)
    migration.proxy.cut()
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(bench, before, migration)


def test_interrupted_in_precopy_then_migrated_after_all(bench: Bench, before: Before, guide: str) -> None:
    spec = Spec()
    source = bench.start_source(spec)
    migration = start_precopy(bench, guide, source, spec)
    migration.migrate.signal(signal.SIGINT)
    assert migration.migrate.wait() == EXIT_CANCELLED
    check_failed(migration, "cancelled")
    check_source_runs_on(bench, before, migration)
    bench.migrate_completely(source, spec, guide=guide)


def test_interrupted_at_switch_over(bench: Bench, before: Before, guide: str) -> None:
    migration = start_uncommitted(bench, guide)
    migration.migrate.signal(signal.SIGINT)
    assert migration.migrate.wait() == EXIT_CANCELLED
    check_failed(migration, "cancelled")
    check_source_runs_on(bench, before, migration)


def test_killed_in_precopy(bench: Bench, before: Before, guide: str) -> None:
    spec = Spec()
    source = bench.start_source(spec)
    migration = start_precopy(bench, guide, source, spec)
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()
    check_source_runs_on(bench, before, migration)


def test_killed_at_switch_over(bench: Bench, before: Before, guide: str) -> None:
    migration = start_uncommitted(bench, guide)
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()
    check_source_runs_on(bench, before, migration)


def test_destination_killed_in_precopy(bench: Bench, before: Before, guide: str) -> None:
    spec = Spec()
    migration = start_precopy(bench, guide, bench.start_source(spec), spec)
    migration.destination.process.kill()
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(bench, before, migration)
