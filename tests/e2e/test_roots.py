# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs whose paths are not gcctl's: another root, or another mount namespace."""

import os
import tempfile
from pathlib import Path

import pytest
from gclab.gcctl import EXIT_DONE
from gclab.testbed import Testbed
from gclab.vm import Spec

SMALL = Spec(ram_mib=64, memory_type="plain")
OTHER_MOUNTS = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh")


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.mark.parametrize("end", ["source", "destination", "both"])
def test_chroot(testbed: Testbed, end: str) -> None:
    directory = testbed.new_directory("root")
    confined = SMALL.but(args=("-chroot", str(directory)))
    source = testbed.start_source(confined if end != "destination" else SMALL)
    migration = testbed.migrate(source, confined if end != "source" else SMALL)
    migration.wait_completed(SMALL)
    migration.destination.wait_running()
    assert list(directory.iterdir()) == [], "gcctl leaves nothing there"


def test_mount_namespaces(testbed: Testbed) -> None:
    """As of containers, or PrivateTmp: what gcctl calls /dev/shm, where it has its temporary files, is another one there."""
    spec = SMALL.but(launcher=OTHER_MOUNTS)
    source = testbed.start_source(spec)
    destination = testbed.start(spec, "destination", incoming=True)
    mine = Path(tempfile.mkdtemp(dir="/dev/shm", prefix=testbed.directory.name))
    launcher = ("env", f"TMPDIR={mine}")
    try:
        receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1", launcher=launcher)
        migrate, _ = testbed.migrate_to(source, receive.wait_event("listening")["port"], launcher=launcher)
        assert migrate.wait() == EXIT_DONE, migrate.errors()
        assert receive.wait() == EXIT_DONE, receive.errors()
        destination.wait_running()
        assert list(mine.iterdir()) == []
    finally:
        mine.rmdir()
