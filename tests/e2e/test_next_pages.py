# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows a demand fault is sent ahead (--next-pages)."""

import signal
from typing import Any

from harness.bench import Bench
from harness.vm import MIB, Spec

WALK_MIB = 8
WALK_PAGES = WALK_MIB * MIB // 4096


def migrate_held(bench: Bench, spec: Spec, pages: int) -> dict[str, Any]:
    """Migrates with nothing sent but what is asked for and what is next to that, until the guest has been everywhere."""
    migration = bench.migrate(bench.start_source(spec), spec, "--hold-background", "900s", "--next-pages", str(pages))
    # What is sent ahead comes in time only if the VM, on what may be the same CPU, does not go before who sends it.
    migration.destination.make_vcpus_nice()
    migration.migrate.wait_event("resumed")
    # The pass under way, and then a full one.
    migration.destination.wait_running(passes=2, timeout=60)
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["next"]["pages"] == pages
    assert report["next"]["sent"] == report["pages"]["warm"], "there is no hot set"
    print(f"{pages} next pages: {report['demand']['faults']} demand faults, {report['next']['sent']} pages sent ahead")
    return report


def test_a_walk_has_fewer_demand_faults(bench: Bench) -> None:
    spec = Spec(append=f"mode=seq size={WALK_MIB}M")
    without, ahead = migrate_held(bench, spec, 0), migrate_held(bench, spec, 16)
    assert without["demand"]["faults"] > 0.9 * WALK_PAGES, "each page was asked for"
    assert without["next"]["sent"] == 0
    # It grows to hundreds of pages ahead.
    assert ahead["demand"]["faults"] < 0.05 * without["demand"]["faults"]
    assert ahead["next"]["sent"] > 0.5 * WALK_PAGES


def test_walks_of_several_vcpus(bench: Bench) -> None:
    spec = Spec(cpus=4, append=f"mode=seq size={WALK_MIB}M")
    report = migrate_held(bench, spec, 16)
    assert report["demand"]["faults"] < 0.5 * WALK_PAGES
    assert report["next"]["sent"] > 0.5 * WALK_PAGES


def test_they_are_sent_by_default(bench: Bench) -> None:
    spec = Spec()
    report = bench.migrate_completely(bench.start_source(spec), spec)
    assert report["next"]["pages"] > 0
