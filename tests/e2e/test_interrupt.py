# SPDX-License-Identifier: GPL-2.0-or-later
"""`gcctl receive` is interrupted. (For `gcctl migrate`: test_rollback.py, test_reconnect.py.)"""

import signal

import pytest
from gclab import rogue
from gclab.gcctl import EXIT_CANCELLED, EXIT_DONE, EXIT_NEEDS_OPERATOR, EXIT_REFUSED, run
from gclab.testbed import Testbed
from gclab.vm import Spec

SPEC = Spec(ram_mib=96, append="mode=check size=40M")
SLOW_POSTCOPY = ("--bandwidth", "3M")  # 40 MiB take 13 s
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def test_without_a_qemu_it_refuses() -> None:
    done = run("receive", "--qmp", "/nonexistent", "--listen", "127.0.0.1:0")
    assert done.returncode == EXIT_REFUSED and "connect to /nonexistent: No such file" in done.stderr


@SIGNALS
def test_while_it_waits(testbed: Testbed, number: signal.Signals) -> None:
    destination = testbed.start(SPEC, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    receive.wait_event("listening")
    receive.signal(number)
    assert receive.wait(10) == EXIT_CANCELLED
    assert destination.status() == "inmigrate"


@SIGNALS
def test_while_a_source_opens_its_channels(testbed: Testbed, number: signal.Signals) -> None:
    """It does not wait for another source."""
    destination = testbed.start(SPEC, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    with rogue.connect(receive.wait_event("listening")["port"], "control") as control:
        rogue.read_line(control)
        receive.signal(number)
        assert receive.wait(10) == EXIT_CANCELLED
    assert destination.status() == "inmigrate"


def test_after_the_commit_it_goes_on(testbed: Testbed) -> None:
    migration = testbed.migrate(testbed.start_source(SPEC), SPEC, "--bandwidth", "20M")
    migration.migrate.wait_event("resumed")
    migration.receive.signal(signal.SIGTERM)
    assert migration.migrate.wait() == EXIT_DONE and migration.receive.wait() == EXIT_DONE
    assert "gcctl must run until it is complete" in migration.receive.errors()
    migration.destination.wait_running()


def test_after_the_commit_and_without_a_source_it_ends(testbed: Testbed) -> None:
    migration = testbed.migrate(testbed.start_source(SPEC), SPEC, *SLOW_POSTCOPY, reconnect_limit=600)
    migration.migrate.wait_event("resumed")
    migration.migrate.signal(signal.SIGKILL)
    migration.receive.wait_event("connection-lost")
    migration.receive.signal(signal.SIGTERM)
    assert migration.receive.wait(10) == EXIT_NEEDS_OPERATOR
    assert "gcctl status" in migration.receive.errors()
