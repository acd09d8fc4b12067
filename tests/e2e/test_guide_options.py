# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs with options of common managers have a guide: what it must not open is replaced."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gclab.testbed import Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

SMALL = Spec(ram_mib=64)


@pytest.fixture
def nbd(testbed: Testbed) -> Iterator[Path]:
    """A disk on the network, as of OpenStack. Both QEMUs may have it, but no third client."""
    directory = testbed.new_directory("nbd")
    disk, path = directory / "disk", directory / "socket"
    with disk.open("wb") as file:
        file.truncate(8 << 20)
    server = subprocess.Popen(["qemu-nbd", "--persistent", "--shared=2", "--format=raw", f"--socket={path}", str(disk)])
    wait_for("qemu-nbd listens", path.exists, 10)
    yield path
    server.kill()
    server.wait()


def test_a_disk_on_the_network(testbed: Testbed, nbd: Path) -> None:
    storage = {"driver": "nbd", "server": {"type": "unix", "path": str(nbd)}, "node-name": "storage"}
    spec = SMALL.but(args=("-blockdev", json.dumps(storage), "-blockdev", '{"driver":"raw","file":"storage","node-name":"disk"}',
                           "-device", "virtio-blk-pci,drive=disk"))
    migration = testbed.migrate(testbed.start_source(spec), spec, guide="on")
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["mode"] == "guide", report["guide"]


def test_a_configuration_file(testbed: Testbed) -> None:
    """As of LXD and Incus."""
    config = testbed.new_directory("config") / "vm.conf"
    config.write_text('# Devices\n[device "rng"]\ndriver = "virtio-rng-pci"\n\n[device "balloon"]\ndriver = "virtio-balloon-pci"\n')
    spec = SMALL.but(args=("-readconfig", str(config)))
    migration = testbed.migrate(testbed.start_source(spec), spec, guide="on")
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["mode"] == "guide", report["guide"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user(testbed: Testbed) -> None:
    """The guide has that user's rights from its start."""
    testbed.directory.chmod(0o755)
    migration = testbed.migrate(testbed.start_source(SMALL, source_args=("-runas", "nobody")), SMALL, guide="on")
    report = migration.wait_completed(SMALL)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["mode"] == "guide", report["guide"]
