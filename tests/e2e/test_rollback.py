# SPDX-License-Identifier: GPL-2.0-or-later
"""After any failure before commit the source runs on, and nothing is left behind."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from gclab.network import links, namespaces
from gclab.qemu import DESTINATION_QEMU, release
from gclab.testbed import Migration, Testbed
from gclab.environment import SLOW
from gclab.gcctl import EXIT_CANCELLED, EXIT_FAILED
from gclab.vm import Spec, Vm
from gclab.wait import wait_for

# Long enough to interrupt it: 128 MiB at 4 MiB/s.
SLOW_PRECOPY = ("--precopy-time", "600s", "--bandwidth", "4M")
# Seconds: in these tests the other gcctl does not come back.
RECONNECT_LIMIT = 1 * SLOW


class Before:
    """The host's state that must be the same afterwards."""

    def __init__(self) -> None:
        self.links = links()
        self.namespaces = namespaces()


@pytest.fixture
def before() -> Before:
    return Before()


def check_source_runs_on(testbed: Testbed, before: Before, migration: Migration) -> None:
    source = migration.source
    wait_for("the source runs", lambda: source.status() == "running", 20 * SLOW)
    source.wait_running(passes=2)
    wait_for("it has its settings again", source.has_settings_of_start, 10 * SLOW)
    migration.destination.wait_end()
    migration.receive.wait(20)
    assert migration.receive.process.returncode != 0
    wait_for("only the source is left", lambda: set(testbed.processes()) == {source.pid}, 10 * SLOW)
    left = testbed.temporary_files()
    if migration.receive.process.returncode == -signal.SIGKILL:
        # The directory of the socket to which QEMU connects is there for milliseconds (docs/operations/limits.md).
        left = [path for path in left if not re.fullmatch(r"gcctl-\w{6}", Path(path).name)]
    assert left == []
    assert links() == before.links
    assert namespaces() == before.namespaces


def check_failed(migration: Migration, result: str = "failed") -> None:
    report = migration.report()
    assert report["result"] == result
    assert report["error"]


def start_precopy(testbed: Testbed, guide: str, source: Vm, spec: Spec, **proxy: Any) -> Migration:
    migration = testbed.migrate(source, spec, *SLOW_PRECOPY, guide=guide, proxy=proxy or None, reconnect_limit=RECONNECT_LIMIT)
    migration.migrate.wait_event("progress")
    # Before that, gcctl receive would wait for another source.
    migration.receive.wait_event("receiving")
    return migration


def start_uncommitted(testbed: Testbed, guide: str, **more: Any) -> Migration:
    """Switched over, but the destination's answers are lost, so that the migration cannot commit."""
    spec = Spec()
    migration = testbed.migrate(testbed.start_source(spec), spec, guide=guide, proxy={"mute": ("main",)},
                                reconnect_limit=RECONNECT_LIMIT, **more)
    migration.migrate.wait_event("switch-over")
    migration.receive.wait_event("receiving")
    return migration


@pytest.mark.both
def test_destination_refuses_device_state(testbed: Testbed, before: Before, guide: str) -> None:
    spec = Spec()
    source = testbed.start_source(spec, source_args=("-device", "virtio-rng-pci"))
    migration = testbed.migrate(source, spec, "--allow-differences", guide=guide)
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    assert "the destination refused the VM: the destination QEMU" in migration.report()["error"]
    if release(DESTINATION_QEMU) < (10, 2):  # later ones do not say why
        for said in migration.report()["error"], migration.receive.errors():
            assert "it wrote to its standard error: " in said and "virtio-rng" in said
    check_source_runs_on(testbed, before, migration)


def test_connection_cut_in_precopy(testbed: Testbed, before: Before, guide: str) -> None:
    spec = Spec()
    migration = start_precopy(testbed, guide, testbed.start_source(spec), spec, cut_after=4 << 20)
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(testbed, before, migration)


def test_connection_cut_at_switch_over(testbed: Testbed, before: Before, guide: str) -> None:
    migration = start_uncommitted(testbed, guide)
    assert migration.proxy
    migration.proxy.cut()
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(testbed, before, migration)


def test_interrupted_in_precopy_then_migrated_after_all(testbed: Testbed, before: Before, guide: str) -> None:
    spec = Spec()
    source = testbed.start_source(spec)
    migration = start_precopy(testbed, guide, source, spec)
    migration.migrate.signal(signal.SIGINT)
    assert migration.migrate.wait() == EXIT_CANCELLED
    check_failed(migration, "cancelled")
    check_source_runs_on(testbed, before, migration)
    testbed.migrate_completely(source, spec, guide=guide)


@pytest.mark.long
@pytest.mark.parametrize("hung", ["nobody", "destination", "receive"])
def test_switch_over_limit(testbed: Testbed, before: Before, guide: str, hung: str) -> None:
    """No answer of the destination, whoever hangs: the VM runs on at the source by itself, and its halt is bounded."""
    spec = Spec()
    source = testbed.start_source(spec)
    migration = testbed.migrate(source, spec, guide=guide, proxy={"mute": ("main",)}, switch_over_limit=2,
                                reconnect_limit=RECONNECT_LIMIT)
    migration.migrate.wait_event("switch-over")
    migration.receive.wait_event("receiving")
    stopped = {"destination": [migration.destination.process], "receive": [migration.receive.process]}.get(hung, [])
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    wait_for("the source runs", lambda: source.status() == "running", 10 * SLOW)
    assert migration.migrate.wait() == EXIT_FAILED
    assert "--switch-over-limit" in migration.report()["error"]
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    check_source_runs_on(testbed, before, migration)


def test_receive_killed_at_switch_over(testbed: Testbed, before: Before, guide: str) -> None:
    """Its guardian ends the destination QEMU, which has loaded the VM's state."""
    migration = start_uncommitted(testbed, guide)
    migration.receive.signal(signal.SIGKILL)
    assert migration.migrate.wait() == EXIT_FAILED
    check_source_runs_on(testbed, before, migration)


def test_control_group_killed_at_switch_over(testbed: Testbed, before: Before, guide: str) -> None:
    """As systemd ends a unit: the guardian is not in gcctl's control group."""
    root = next(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2")
    group = Path(root) / "gc-test"
    group.mkdir()
    try:
        enter = ("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh")
        migration = start_uncommitted(testbed, guide, launcher=enter)
        assert str(migration.migrate.process.pid) in (group / "cgroup.procs").read_text().split()
        (group / "cgroup.kill").write_text("1")
        migration.migrate.wait()
        check_source_runs_on(testbed, before, migration)
    finally:
        wait_for("the group is empty", lambda: not (group / "cgroup.procs").read_text(), 10 * SLOW)
        group.rmdir()


def test_interrupted_at_switch_over(testbed: Testbed, before: Before, guide: str) -> None:
    migration = start_uncommitted(testbed, guide)
    migration.migrate.signal(signal.SIGINT)
    assert migration.migrate.wait() == EXIT_CANCELLED
    check_failed(migration, "cancelled")
    check_source_runs_on(testbed, before, migration)


def test_killed_in_precopy(testbed: Testbed, before: Before, guide: str) -> None:
    spec = Spec()
    source = testbed.start_source(spec)
    migration = start_precopy(testbed, guide, source, spec)
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()
    check_source_runs_on(testbed, before, migration)


@pytest.mark.both
def test_killed_at_switch_over(testbed: Testbed, before: Before, guide: str) -> None:
    migration = start_uncommitted(testbed, guide)
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()
    check_source_runs_on(testbed, before, migration)


def test_destination_killed_in_precopy(testbed: Testbed, before: Before, guide: str) -> None:
    spec = Spec()
    migration = start_precopy(testbed, guide, testbed.start_source(spec), spec)
    migration.destination.process.kill()
    assert migration.migrate.wait() == EXIT_FAILED
    check_failed(migration)
    check_source_runs_on(testbed, before, migration)
