# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations whose background is held, so that their guide has something to do."""

import os
import signal
from typing import Any

from gclab.environment import SLOW
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

# Longer than any test; SIGUSR1 ends it.
HOLD = ("--hold-background", "900s")


def start_held(testbed: Testbed, spec: Spec, launcher: tuple[str, ...] = (), reconnect_limit: float = 30) -> tuple[Migration, int]:
    """A migration whose guide runs and whose background is held, and the guide's pid. `launcher` starts the source QEMU."""
    source = testbed.start_source(spec.but(launcher=launcher))
    migration = testbed.migrate(source, spec, *HOLD, guide="on", reconnect_limit=reconnect_limit)
    pid = migration.migrate.wait_event("guide-started")["pid"]
    migration.migrate.wait_event("guide-runs")
    return migration, pid


def finish(migration: Migration, spec: Spec) -> dict[str, Any]:
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    return report


def check_guide_ends_with_its_gcctl(testbed: Testbed, launcher: tuple[str, ...]) -> None:
    """The kernel forgets the signal at its parent's death when a program gets another label."""
    migration, guide = start_held(testbed, Spec(), launcher, reconnect_limit=1)
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()
    wait_for("the guide is gone", lambda: not os.path.exists(f"/proc/{guide}"), 5 * SLOW)
