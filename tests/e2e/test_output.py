# SPDX-License-Identifier: GPL-2.0-or-later
"""A migration goes on when its output has no reader any more."""

from gclab.testbed import Migration, Testbed
from gclab.vm import Spec

# Runs its arguments with a pipe as standard output that nobody reads, and exits with their status.
UNREAD = ("bash", "-c", 'set -o pipefail; "$@" | true', "unread")


def test_reader_is_gone(testbed: Testbed) -> None:
    spec = Spec()
    source = testbed.start_source(spec)
    destination = testbed.start(spec, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    port = receive.wait_event("listening")["port"]
    migrate, report = testbed.migrate_to(source, port, launcher=UNREAD)
    Migration(source, destination, receive, migrate, report).wait_completed(spec)
    destination.wait_running()
    source.check()
