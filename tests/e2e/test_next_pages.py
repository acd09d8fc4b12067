# SPDX-License-Identifier: GPL-2.0-or-later
"""Read-ahead after demand faults (--next-pages)."""

import signal
from typing import Any

import pytest
from gclab.testbed import Testbed
from gclab.vm import MIB, Spec

WALK_MIB = 8
WALK_PAGES = WALK_MIB * MIB // 4096


def migrate_held(testbed: Testbed, spec: Spec, pages: int) -> dict[str, Any]:
    """Until the guest has used all its pages, only requested pages and the read-ahead after them are sent."""
    migration = testbed.migrate(testbed.start_source(spec), spec, "--hold-background", "900s", "--next-pages", str(pages))
    # Source and destination may share a CPU: read-ahead arrives in time only if the VM does not run before its sender.
    migration.destination.make_vcpus_nice()
    migration.migrate.wait_event("resumed")
    # The current pass, and then a full one.
    migration.destination.wait_running(passes=2, timeout=60)
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["next"]["pages"] == pages
    assert report["next"]["sent"] == report["pages"]["warm"], "there is no other source of warm pages"
    print(f"{pages} next pages: {report['demand']['faults']} demand faults, {report['next']['sent']} pages read ahead")
    return report


@pytest.mark.long
def test_a_walk_has_fewer_demand_faults(testbed: Testbed) -> None:
    spec = Spec(append=f"mode=seq size={WALK_MIB}M")
    without, ahead = migrate_held(testbed, spec, 0), migrate_held(testbed, spec, 16)
    assert without["demand"]["faults"] > 0.9 * WALK_PAGES, "each page is requested"
    assert without["next"]["sent"] == 0
    # How far ahead the sender gets depends on the host's speed. tests/transfer/next_pages_test.cpp covers the window.
    assert ahead["demand"]["faults"] < 0.1 * without["demand"]["faults"]
    assert ahead["next"]["sent"] > 0.5 * WALK_PAGES


@pytest.mark.long
def test_walks_of_several_vcpus(testbed: Testbed) -> None:
    spec = Spec(cpus=4, append=f"mode=seq size={WALK_MIB}M")
    report = migrate_held(testbed, spec, 16)
    assert report["demand"]["faults"] < 0.5 * WALK_PAGES
    assert report["next"]["sent"] > 0.5 * WALK_PAGES


def test_read_ahead_is_on_by_default(testbed: Testbed) -> None:
    spec = Spec()
    report = testbed.migrate_completely(testbed.start_source(spec), spec)
    assert report["next"]["pages"] > 0
