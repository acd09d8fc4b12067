# SPDX-License-Identifier: GPL-2.0-or-later
"""From the commit on the source's VM never runs again, however `gcctl migrate` ends and whatever its QEMU makes of that."""

import ctypes
import os
import signal
import socket
import struct
import time
from contextlib import suppress

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_REFUSED, Gcctl
from gclab.qemu import SOURCE_QEMU, release
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec, Vm
from gclab.wait import wait_for

# The background, at SLOWLY, takes a quarter of a minute.
SPEC = Spec(ram_mib=96, append="mode=check size=4M cold=50M")
SLOWLY = ("--bandwidth", "3M")
RECONNECT_LIMIT = 1 * SLOW  # seconds: the killed gcctl does not come back
PIDFD_GETFD = 438  # the system call, on x86-64
QUIET = 0.5 * SLOW  # seconds for a VM that runs to show it


def check_stands_still(source: Vm) -> None:
    passes = source.progress()
    time.sleep(QUIET)
    assert source.status() != "running"
    assert source.progress() == passes


def kill(migration: Migration) -> None:
    migration.migrate.signal(signal.SIGKILL)
    migration.migrate.wait()


@pytest.mark.long
@pytest.mark.parametrize("delay", [0, 0.005, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("event", ["switch-over", "commit", "resumed"])
def test_killed(testbed: Testbed, event: str, delay: float) -> None:
    """The moments are not exact: before the commit the source's VM runs on, and only that one."""
    migration = testbed.migrate(testbed.start_source(SPEC), SPEC, *SLOWLY, reconnect_limit=RECONNECT_LIMIT)
    migration.migrate.wait_event(event)
    time.sleep(delay)
    kill(migration)
    migration.receive.wait()
    source, destination = migration.source, migration.destination
    if not destination.ended():
        wait_for("the source QEMU has noticed", lambda: source.migration_status() == "postcopy-paused", 10 * SLOW)
        check_stands_still(source)
    else:
        assert migration.migrate.event("commit") is None
        wait_for("the source runs", lambda: source.status() == "running", 10 * SLOW)
        source.wait_running(passes=2)


def stream_of(gcctl: Gcctl) -> socket.socket:
    """A duplicate of gcctl's end of the source QEMU's stream: its one socket to a peer that it made itself."""
    pidfd = os.pidfd_open(gcctl.process.pid)
    for name in os.listdir(f"/proc/{gcctl.process.pid}/fd"):
        fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, int(name), 0)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        try:
            end = socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
            continue
        if end.family == socket.AF_UNIX and end.type == socket.SOCK_STREAM and \
                struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] == gcctl.process.pid:
            os.close(pidfd)
            return end
        end.close()
    raise AssertionError("gcctl has no such socket")


def test_killed_when_the_source_had_sent_everything(testbed: Testbed) -> None:
    """It waits for the destination's word. QEMU 8.2 and later take its absence for a failed migration, after which a VM
    that QEMU itself had stopped would run."""
    migration = testbed.migrate(testbed.start_source(SPEC), SPEC, *SLOWLY)
    migration.migrate.wait_event("resumed")
    time.sleep(QUIET)
    source = migration.source
    migration.migrate.signal(signal.SIGSTOP)
    with stream_of(migration.migrate) as stream:
        # As at the end of a migration, but without its end.
        source.command("migrate-set-parameters", **{"max-postcopy-bandwidth": 0})
        stream.settimeout(QUIET)
        with suppress(TimeoutError):
            while stream.recv(1 << 20):
                pass
        assert source.command("query-migrate")["ram"]["remaining"] == 0
        kill(migration)
    check_stands_still(source)
    assert migration.destination.status() == "running"


@pytest.mark.skipif(release(SOURCE_QEMU) < (8, 2), reason="QEMU 8.2 introduced the parameter")
def test_mode_is_refused(testbed: Testbed) -> None:
    source = testbed.start_source(SPEC)
    source.command("migrate-set-parameters", mode="cpr-reboot")
    gcctl, _ = testbed.migrate_to(source, 1)
    assert gcctl.wait() == EXIT_REFUSED
    assert "migration parameter mode to be normal, found cpr-reboot" in gcctl.errors()
    assert source.status() == "running"
