# SPDX-License-Identifier: GPL-2.0-or-later
"""gcctl receive --measure when it cannot measure. test_guide.py has the usual case."""

import pytest
from gclab.testbed import Testbed
from gclab.gcctl import EXIT_DONE, EXIT_REFUSED
from gclab.vm import Spec


@pytest.mark.lab
def test_destination_ends_while_it_is_measured(testbed: Testbed) -> None:
    spec = Spec()
    migration = testbed.migrate(testbed.start_source(spec), spec, receive_options=("--measure=3000s",))
    migration.migrate.wait_event("measuring", timeout=60)
    migration.destination.wait_running()
    migration.destination.end()
    # The VM had arrived completely.
    assert migration.receive.wait(10) == EXIT_DONE
    assert migration.migrate.wait(10) == EXIT_DONE
    why = "could not be measured: the destination QEMU ended"
    assert why in migration.receive.errors()
    warning = migration.migrate.event("warning")
    assert warning is not None and why in warning["message"], warning
    report = migration.report()
    assert report["result"] == "completed" and report["measured"] is None


def test_vm_without_kvm_is_not_measured(testbed: Testbed) -> None:
    spec = Spec(accel="tcg")
    destination = testbed.start(spec, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1", "--measure")
    assert receive.wait() == EXIT_REFUSED
    assert "runs no KVM VM" in receive.errors()
    assert destination.status() == "inmigrate"
