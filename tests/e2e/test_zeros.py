# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that was never written is told in runs and placed at the destination: a VM that allocates it finds zeros."""

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE, EXIT_FAILED
from gclab.testbed import Migration, Testbed
from gclab.vm import PAGE_SIZE, Spec, Vm
from gclab.wait import wait_for
from test_recover import Recovery, kill

# For a second and more it fills memory that nobody has touched, and reports each word that is not zero.
FRESH = Spec(ram_mib=384, append="mode=fresh size=96M work=20000")


def start_source(testbed: Testbed, spec: Spec = FRESH) -> Vm:
    """A source whose guest has just begun to allocate."""
    source = testbed.start(spec)
    wait_for("the guest allocates", lambda: "READY" in source.serial(), 20 * SLOW)
    return source


def check_fresh(migration: Migration, passes: int = 1) -> None:
    """The VM has filled its memory, and found there what it should."""
    migration.destination.wait_running(passes=passes)
    migration.destination.check()
    migration.source.check()


@pytest.mark.parametrize("memory", ["memfd", "file-private", "ram"])
def test_fresh_memory(testbed: Testbed, memory: str, guide: str) -> None:
    spec = FRESH.but(memory_type=memory)
    migration = testbed.migrate(start_source(testbed, spec), spec, guide=guide)
    report = migration.wait_completed(spec)
    check_fresh(migration)
    # What the guest has written, and some of the firmware, is all that was not told.
    assert report["zeros"]["pages"] > 0.5 * report["pages"]["total"]
    assert 0 < report["zeros"]["runs"] < 1000
    assert report["pages"]["zero"] >= report["zeros"]["pages"]
    assert report["bytes"]["background"] < (report["pages"]["background"] - report["zeros"]["pages"] + 100) * (PAGE_SIZE + 100)


def test_a_peer_of_version_7_is_told_nothing(testbed: Testbed) -> None:
    migration = testbed.migrate(start_source(testbed), FRESH, proxy={"newest": 7})
    report = migration.wait_completed(FRESH)
    check_fresh(migration)
    assert report["zeros"] == {"pages": 0, "runs": 0}
    assert report["demand"]["local"] == 0
    assert report["pages"]["zero"] > 0.5 * report["pages"]["total"]


@pytest.mark.parametrize("when", ["switch-over", "resumed"])
def test_connections_break(testbed: Testbed, when: str) -> None:
    """Before the runs have arrived, or while they are placed."""
    migration = testbed.migrate(start_source(testbed), FRESH, "--bandwidth", "16M", proxy={})
    migration.migrate.wait_event(when)
    assert migration.proxy
    migration.proxy.reset()
    report = migration.wait_completed(FRESH)
    check_fresh(migration)
    assert report["connection_losses"] >= 1
    assert report["zeros"]["pages"] > 0


def test_the_network_is_away(testbed: Testbed) -> None:
    """The VM allocates all the same."""
    spec = FRESH.but(append="mode=fresh size=128M work=20000")
    migration = testbed.migrate(start_source(testbed, spec), spec, "--bandwidth", "4M", proxy={})
    migration.migrate.wait_event("resumed")
    assert migration.proxy
    migration.proxy.silence(3)
    report = migration.wait_completed(spec)
    check_fresh(migration)
    assert report["connection_losses"] >= 1


@pytest.mark.parametrize("killed", [("migrate",), ("receive",)], ids="+".join)
def test_gcctls_killed(testbed: Testbed, killed: tuple[str, ...]) -> None:
    """What was told and not placed is sent by the recovery."""
    source = start_source(testbed)
    source.make_vcpus_nice()
    migration = testbed.migrate(source, FRESH, "--bandwidth", "3M")
    migration.migrate.wait_event("resumed")
    kill(migration, *killed)
    recovery = Recovery(testbed, migration.source, migration.destination)
    migrate, receive = recovery.both()
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert receive.wait(20) == EXIT_DONE, receive.errors()
    check_fresh(migration)


def test_rolled_back(testbed: Testbed) -> None:
    """The destination was told of the runs, and the VM allocates at the source after all."""
    source = start_source(testbed)
    migration = testbed.migrate(source, FRESH, proxy={"mute": ("main",)}, switch_over_limit=2, reconnect_limit=SLOW)
    migration.migrate.wait_event("switch-over")
    assert migration.migrate.wait() == EXIT_FAILED
    assert migration.report()["zeros"]["pages"] > 0
    wait_for("the source runs", lambda: source.status() == "running", 20 * SLOW)
    source.wait_running(passes=1)
    migration.destination.wait_end()
