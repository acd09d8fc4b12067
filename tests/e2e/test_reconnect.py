# SPDX-License-Identifier: GPL-2.0-or-later
"""The connections between the two gcctls break: the migration continues from the byte where it was, and neither QEMU
notices."""

import signal
import subprocess
from collections.abc import Callable
from functools import partial

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_CANCELLED, EXIT_DONE
from gclab.proxy import Proxy
from gclab.testbed import Migration, Testbed
from gclab.vm import WORK_MIB, Spec
from gclab.wait import wait_for

EXIT_NEEDS_OPERATOR = 4
CHANNELS = ("control", "main", "urgent", "bulk")
# Some 90 MiB wait for it: seconds.
BANDWIDTH = ("--bandwidth", "16M")

BREAKS: dict[str, Callable[[Proxy], None]] = {
    **{f"reset {channel}": lambda proxy, channel=channel: proxy.reset(channel) for channel in CHANNELS},  # type: ignore[misc]
    "reset all": lambda proxy: proxy.reset(),
    "silent": lambda proxy: proxy.silence(3),
    "flipped": lambda proxy: proxy.flip(100_000),
}


def start(testbed: Testbed, *options: str, reconnect_limit: float = 30) -> Migration:
    spec = Spec()
    return testbed.migrate(testbed.start_source(spec), spec, *BANDWIDTH, *options, proxy={}, reconnect_limit=reconnect_limit)


def check_completed(migration: Migration, spec: Spec = Spec()) -> None:
    migration.wait_completed(spec)
    assert migration.receive.wait(20 * SLOW) == EXIT_DONE
    migration.destination.wait_running(passes=2)
    migration.destination.check()
    migration.source.check()


@pytest.mark.parametrize("what", BREAKS)
def test_after_the_commit(testbed: Testbed, what: str) -> None:
    migration = start(testbed)
    migration.migrate.wait_event("resumed")
    assert migration.proxy
    BREAKS[what](migration.proxy)
    check_completed(migration)
    report = migration.report()
    assert report["connection_losses"] >= 1
    assert report["disconnected_ms"] > 0


def connected_or_ended(proxy: Proxy, process: "subprocess.Popen[bytes]", wanted: int) -> bool:
    return proxy.connections >= wanted or process.poll() is not None


def test_again_and_again(testbed: Testbed) -> None:
    migration = start(testbed)
    migration.migrate.wait_event("resumed")
    proxy, process = migration.proxy, migration.migrate.process
    assert proxy
    for _ in range(8):
        wanted = proxy.connections + len(CHANNELS)
        proxy.reset()
        wait_for("all are connected again", partial(connected_or_ended, proxy, process, wanted), 20 * SLOW)
    check_completed(migration)


# QEMU 7.2 under TCG loses writes during pre-copy, gcctl or not, also of a guest that writes little.
@pytest.mark.lab
@pytest.mark.parametrize("what", ["reset all", "silent"])
def test_in_precopy(testbed: Testbed, what: str) -> None:
    spec = Spec(append=f"mode=chase size={WORK_MIB}M")
    migration = testbed.migrate(testbed.start_source(spec), spec, "--precopy-time", "5s", proxy={})
    migration.migrate.wait_event("progress")
    assert migration.proxy
    BREAKS[what](migration.proxy)
    check_completed(migration, spec)
    assert migration.report()["connection_losses"] >= 1


@pytest.mark.parametrize("when", ["started", "switch-over"])
def test_at_switch_over(testbed: Testbed, when: str) -> None:
    migration = start(testbed)
    migration.migrate.wait_event(when)
    assert migration.proxy
    migration.proxy.reset()
    check_completed(migration)


def test_receive_is_killed_after_the_commit(testbed: Testbed) -> None:
    """Its host is there and it is not: no use to wait."""
    spec = Spec()
    migration = testbed.migrate(testbed.start_source(spec), spec, *BANDWIDTH, reconnect_limit=1)
    migration.migrate.wait_event("resumed")
    migration.receive.signal(signal.SIGKILL)
    assert migration.migrate.wait() == EXIT_NEEDS_OPERATOR
    assert "its gcctl does not answer" in migration.report()["error"]


@pytest.mark.parametrize("committed", [False, True])
def test_interrupted_while_the_connection_is_lost(testbed: Testbed, committed: bool) -> None:
    migration = start(testbed, *([] if committed else ["--precopy-time", "600s"]))
    migration.migrate.wait_event("resumed" if committed else "progress")
    assert migration.proxy
    migration.proxy.cut()
    migration.migrate.wait_event("connection-lost")
    migration.migrate.signal(signal.SIGTERM)
    assert migration.migrate.wait() == (EXIT_NEEDS_OPERATOR if committed else EXIT_CANCELLED)
    if not committed:
        migration.source.wait_running(passes=2)
        migration.source.check()


def test_a_new_receive_does_not_know_the_migration(testbed: Testbed) -> None:
    migration = start(testbed)
    migration.migrate.wait_event("resumed")
    port = migration.receive.wait_event("listening")["port"]
    migration.receive.signal(signal.SIGKILL)
    migration.receive.wait()
    other = testbed.start(Spec(), "other", incoming=True)
    again = testbed.gcctl("receive", "--qmp", other.gcctl_qmp(), "--listen", f"127.0.0.1:{port}")
    again.wait_event("listening")
    assert migration.migrate.wait() == EXIT_NEEDS_OPERATOR
    assert "does not know this migration" in migration.report()["error"]
    assert other.status() == "inmigrate"
