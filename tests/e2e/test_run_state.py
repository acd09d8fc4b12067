# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM that somebody stops or resumes in pre-copy arrives, or stays, as it was at the switch-over."""

import os
import signal

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_CANCELLED, EXIT_DONE, EXIT_NEEDS_OPERATOR
from gclab.processes import children
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

SMALL = Spec(ram_mib=64, memory_type="plain")
# Pre-copy ends by time while there is still memory to send, so that post-copy follows; or when all is sent.
PRECOPY = {"post-copy": ("--precopy-time", "6s", "--bandwidth", "1M"), "converged": ("--precopy-time", "600s", "--bandwidth", "8M")}


ENDLESS = ("--precopy-time", "600s", "--bandwidth", "1M")


def stopped_in_precopy(testbed: Testbed, *options: str, guide: str = "off") -> Migration:
    source = testbed.start_source(SMALL)
    migration = testbed.migrate(source, SMALL, *options, guide=guide, switch_over_limit=2)
    migration.migrate.wait_event("progress")
    source.command("stop")
    assert migration.migrate.wait_event("run-state")["running"] is False
    return migration


@pytest.mark.long
@pytest.mark.parametrize("end", PRECOPY)
def test_stopped_in_precopy(testbed: Testbed, guide: str, end: str) -> None:
    migration = stopped_in_precopy(testbed, *PRECOPY[end], guide=guide)
    assert migration.migrate.wait() == EXIT_DONE, migration.migrate.errors()
    assert migration.receive.wait() == EXIT_DONE, migration.receive.errors()
    report = migration.report()
    assert report["downtime_ms"] == 0, "it did not run before either"
    assert migration.destination.status() == "paused"
    assert migration.source.status() == "postmigrate"
    migration.destination.command("cont")
    assert migration.destination.status() == "running"


def test_stopped_and_resumed_in_precopy(testbed: Testbed) -> None:
    migration = stopped_in_precopy(testbed, *PRECOPY["post-copy"])
    migration.source.command("cont")
    wait_for("gcctl knows", lambda: any(e["event"] == "run-state" and e["running"] for e in migration.migrate.events()), 10 * SLOW)
    assert migration.migrate.wait() == EXIT_DONE, migration.migrate.errors()
    assert migration.destination.status() == "running"


def test_stopped_in_precopy_and_interrupted(testbed: Testbed) -> None:
    """Not gcctl stopped it, so gcctl does not resume it."""
    migration = stopped_in_precopy(testbed, *ENDLESS)
    migration.migrate.signal(signal.SIGINT)
    assert migration.migrate.wait() == EXIT_CANCELLED
    assert migration.source.status() == "paused"


def test_stopped_in_precopy_and_killed(testbed: Testbed) -> None:
    """Nor does its guardian."""
    migration = stopped_in_precopy(testbed, *ENDLESS)
    guardian, = children(migration.migrate.process.pid)
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()
    wait_for("the guardian has ended", lambda: not os.path.exists(f"/proc/{guardian}/exe"), 20 * SLOW)
    assert migration.source.status() == "paused"


def test_the_source_ends_in_precopy(testbed: Testbed) -> None:
    """There is nothing that could be resumed, and gcctl does not advise to."""
    source = testbed.start_source(SMALL)
    migration = testbed.migrate(source, SMALL, "--precopy-time", "600s", "--bandwidth", "1M")
    migration.migrate.wait_event("progress")
    source.process.kill()
    assert migration.migrate.wait() == EXIT_NEEDS_OPERATOR
    assert "ended during the migration, and its VM with it" in migration.report()["error"]
    assert "take-back" not in migration.migrate.errors()
    assert migration.receive.wait(20) != EXIT_DONE
    migration.destination.wait_end()
