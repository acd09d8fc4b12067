# SPDX-License-Identifier: GPL-2.0-or-later
"""gcctl receive --measure when there is nothing to measure. test_guide.py has what it is for."""

import pytest
from harness.bench import Bench
from harness.gcctl import EXIT_DONE, EXIT_REFUSED, Gcctl
from harness.vm import Spec


@pytest.mark.lab
def test_destination_ends_while_it_is_measured(bench: Bench) -> None:
    spec = Spec()
    migration = bench.migrate(bench.start_source(spec), spec, receive_options=("--measure=3000s",))
    migration.migrate.wait_event("measuring", timeout=60)
    migration.destination.wait_running()
    migration.destination.kill()
    # The VM was there, and whole.
    assert migration.receive.wait(10) == EXIT_DONE
    assert migration.migrate.wait(10) == EXIT_DONE
    why = "was not measured: the destination QEMU ended"
    assert why in migration.receive.errors()
    warning = migration.migrate.event("warning")
    assert warning is not None and why in warning["message"], warning
    report = migration.report()
    assert report["result"] == "completed" and report["measured"] is None


def test_vm_without_kvm_is_not_measured(bench: Bench) -> None:
    spec = Spec(accel="tcg")
    destination = bench.start(spec, "destination", incoming=True)
    receive = Gcctl(bench.directory, "receive", "--qmp", str(destination.qmp_path), "--listen", "127.0.0.1:0", "--measure")
    bench.running.append(receive)
    assert receive.wait() == EXIT_REFUSED
    assert "runs no KVM VM" in receive.errors()
    assert destination.status() == "inmigrate"
