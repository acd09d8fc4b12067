# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guide is for, and what happens when it is lost."""

import os
import signal
import time
from typing import Any

import pytest
from harness.bench import Bench, Migration
from harness.environment import SLOW
from harness.gcctl import CLASSES
from harness.vm import Spec
from harness.wait import wait_for

pytestmark = pytest.mark.lab

# Longer than any of this takes; the tests end it with SIGUSR1.
HOLD = ("--hold-background", "900s")


# Of the pointer chase, 64 MiB.
CHASE_PAGES = 16384


def migrate_chase(bench: Bench, guide: str) -> dict[str, Any]:
    """Measures a migration of the chase, where nothing is sent but what is asked for or guided to until it did a lap.
    What is next to that would all be of the chase."""
    spec = Spec(ram_mib=192, append="mode=chase size=64M")
    # On a host of its own the destination could not take the guide's time. Here they may share one CPU (scripts/lab says
    # when), and whoever wakes up for a page goes first.
    migration = bench.migrate(bench.start_source(spec), spec.but(nice=5), *HOLD, "--next-pages", "0", guide=guide,
                              receive_options=("--measure",))
    migration.migrate.wait_event("resumed")
    # The lap under way, and then a full one.
    migration.destination.wait_running(passes=2, timeout=60)
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.check()
    measured = report["measured"]
    assert measured is not None, migration.migrate.errors()
    touched = measured["touched"]
    assert sum(touched[name] for name in CLASSES) == touched["total"]
    # Each page of the chase, and little else: the guest's kernel and stacks.
    assert CHASE_PAGES <= touched["total"] <= CHASE_PAGES + 1024, measured
    assert touched["urgent"] <= measured["asked"] <= report["demand"]["faults"]
    assert measured["unresolved"] == 0
    return report


def test_guide_saves_nine_of_ten_demand_faults(bench: Bench) -> None:
    without = migrate_chase(bench, "off")
    guided = migrate_chase(bench, "on")
    faults = without["demand"]["faults"], guided["demand"]["faults"]
    print(f"demand faults: {faults[0]} without a guide, {faults[1]} with one; measured: {without['measured']}, {guided['measured']}")
    assert faults[0] >= CHASE_PAGES, "each page was asked for"
    assert faults[1] <= 0.1 * faults[0]
    # What is measured tells the one from the other.
    assert without["measured"]["coverage"] <= 0.1 and without["measured"]["accuracy"] is None
    assert guided["measured"]["coverage"] >= 0.9 and guided["measured"]["accuracy"] >= 0.9
    wasted = guided["pages"]["guide"] - guided["measured"]["touched"]["guide"]
    assert guided["measured"]["waste_bytes"] <= 4096 * wasted


def start_held(bench: Bench, spec: Spec) -> tuple[Migration, int]:
    """A migration whose guide runs and whose background waits; and the guide's pid."""
    migration = bench.migrate(bench.start_source(spec), spec, *HOLD, guide="on")
    pid = migration.migrate.wait_event("guide-started")["pid"]
    migration.migrate.wait_event("guide-runs")
    return migration, pid


def finish(migration: Migration, spec: Spec) -> dict:
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    return report


def test_guide_killed(bench: Bench) -> None:
    spec = Spec()
    migration, pid = start_held(bench, spec)
    os.kill(pid, signal.SIGKILL)
    migration.migrate.wait_event("guide-ended")
    report = finish(migration, spec)
    assert report["guide"]["started"]
    assert report["guide"]["ended"] == "died"
    assert report["guide"]["reason"]


def test_guide_frozen(bench: Bench) -> None:
    spec = Spec()
    migration, pid = start_held(bench, spec)
    os.kill(pid, signal.SIGSTOP)
    report = finish(migration, spec)
    assert report["guide"]["started"]
    assert report["guide"]["ended"] in ("complete", "diverged"), report["guide"]
    wait_for("the frozen guide is gone", lambda: not os.path.exists(f"/proc/{pid}"), 5 * SLOW)


def start_frozen(bench: Bench, spec: Spec, *options: str) -> tuple[Migration, int]:
    """A migration whose guide cannot load; and the guide's pid. The pre-copy is the time in which to freeze it."""
    migration = bench.migrate(bench.start_source(spec), spec, *HOLD, "--precopy-time", "3s", "--bandwidth", "4M", *options, guide="on")
    pid = migration.migrate.wait_event("guide-started")["pid"]
    os.kill(pid, signal.SIGSTOP)
    migration.migrate.wait_event("switch-over")
    return migration, pid


def test_vm_waits_for_its_guide(bench: Bench) -> None:
    spec = Spec()
    # A guide that takes longer than 10 s to load is given up.
    migration, pid = start_frozen(bench, spec, "--guide-wait", "60s")
    time.sleep(3)
    assert migration.migrate.event("commit") is None
    os.kill(pid, signal.SIGCONT)
    report = finish(migration, spec)
    names = [event["event"] for event in migration.migrate.events()]
    assert names.index("guide-runs") < names.index("commit")
    assert report["guide"]["waited_ms"] > 0


def test_vm_does_not_wait_long_for_its_guide(bench: Bench) -> None:
    spec = Spec()
    migration, pid = start_frozen(bench, spec, "--guide-wait", "200ms")
    migration.migrate.wait_event("resumed")
    assert migration.migrate.event("guide-runs") is None
    os.kill(pid, signal.SIGCONT)
    migration.migrate.wait_event("guide-runs")
    report = finish(migration, spec)
    assert report["guide"]["waited_ms"] >= 200


def test_guide_that_takes_too_much_memory(bench: Bench) -> None:
    # It has a QEMU's own memory, and copies what it touches: 64 MiB.
    spec = Spec(memory_type="plain", ram_mib=192, append="mode=check size=64M")
    migration = bench.migrate(bench.start_source(spec), spec, *HOLD, "--guide-memory", "48M", guide="on")
    migration.migrate.wait_event("guide-ended")
    report = finish(migration, spec)
    assert report["guide"]["started"]
    assert report["guide"]["ended"] == "memory-limit", report["guide"]
    assert report["guide"]["memory_bytes"] > 48 << 20
    assert "--guide-memory" in report["guide"]["reason"]


@pytest.mark.usefixtures("without_module")
def test_module_absent(bench: Bench) -> None:
    spec = Spec()
    report = bench.migrate_completely(bench.start_source(spec), spec, guide="on")
    assert report["mode"] == "postcopy"
    assert report["capture"] == "none"
    assert not report["guide"]["started"]
    assert report["guide"]["ended"] == "refused"
    assert "guidecopy" in report["guide"]["reason"]
