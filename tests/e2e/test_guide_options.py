# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs with options of common managers have a guide: what it must not open is replaced."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gclab.qemu import DESTINATION_QEMU, SOURCE_QEMU, release
from gclab.testbed import Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

SMALL = Spec(ram_mib=64)
# Also without gcctl: "VQ 0 vring.num 1024 exceeds allocated max 8". Seen with 10.0.13 and 11.1.3.
drives_no_virtio = pytest.mark.skipif(release(SOURCE_QEMU) == (10, 0) and release(DESTINATION_QEMU) >= (11, 0),
                                      reason="QEMU 11 takes no virtio device of QEMU 10.0 that has no driver in the guest")


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


@drives_no_virtio
def test_a_configuration_file(testbed: Testbed) -> None:
    """As of LXD and Incus."""
    config = testbed.new_directory("config") / "vm.conf"
    config.write_text('# Devices\n[device "rng"]\ndriver = "virtio-rng-pci"\n\n[device "balloon"]\ndriver = "virtio-balloon-pci"\n')
    spec = SMALL.but(args=("-readconfig", str(config)))
    migration = testbed.migrate(testbed.start_source(spec), spec, guide="on")
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["mode"] == "guide", report["guide"]


def anybody_may_run(program: str) -> bool:
    path = Path(shutil.which(program) or program).resolve()
    return all(one.stat().st_mode & stat.S_IXOTH for one in (path, *path.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.skipif(not anybody_may_run(SOURCE_QEMU), reason=f"not every user may run {SOURCE_QEMU}")
def test_another_user(testbed: Testbed) -> None:
    """The guide has that user's rights from its start."""
    testbed.directory.chmod(0o755)
    becomes = ("-run-with", "user=nobody") if release(SOURCE_QEMU) >= (9, 1) else ("-runas", "nobody")
    migration = testbed.migrate(testbed.start_source(SMALL, source_args=becomes), SMALL, guide="on")
    report = migration.wait_completed(SMALL)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["mode"] == "guide", report["guide"]


PORTS = ("-device", "pcie-root-port,id=p1,chassis=1", "-device", "pcie-root-port,id=p2,chassis=2")


@drives_no_virtio
def test_devices_that_were_plugged_in(testbed: Testbed) -> None:
    """The source's command line does not tell of them, and the destination's has them."""
    image = testbed.directory / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    source = testbed.start_source(SMALL.but(args=PORTS))
    source.command("blockdev-add", driver="raw", node_name="disk", file={"driver": "file", "filename": str(image)})
    source.command("device_add", driver="virtio-blk-pci", id="disk0", bus="p1", drive="disk", serial="field")
    source.command("netdev_add", type="user", id="net")
    source.command("device_add", driver="virtio-net-pci", id="net0", bus="p2", netdev="net", mac="52:54:00:67:63:07", romfile="")
    there = SMALL.but(args=(*PORTS, "-blockdev", f"driver=file,filename={image},node-name=file",
                            "-blockdev", "driver=raw,file=file,node-name=disk",
                            "-device", "virtio-blk-pci,id=disk0,bus=p1,drive=disk,serial=field",
                            "-netdev", "user,id=net", "-device", "virtio-net-pci,id=net0,bus=p2,netdev=net,mac=52:54:00:67:63:07,romfile="))
    migration = testbed.migrate(source, there, guide="on")
    report = migration.wait_completed(there)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["guide"]["ended"] == "complete", report["guide"]


def test_memory_that_was_plugged_in(testbed: Testbed) -> None:
    slots = ("-m", "64M,slots=2,maxmem=1G")
    source = testbed.start_source(SMALL.but(args=slots))
    source.command("object-add", qom_type="memory-backend-ram", id="more", size=32 << 20)
    source.command("device_add", driver="pc-dimm", id="dimm0", memdev="more")
    there = SMALL.but(args=(*slots, "-object", "memory-backend-ram,id=more,size=32M", "-device", "pc-dimm,id=dimm0,memdev=more"))
    migration = testbed.migrate(source, there, guide="on")
    report = migration.wait_completed(there)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["guide"]["ended"] == "complete", report["guide"]


def test_a_device_that_was_plugged_out(testbed: Testbed) -> None:
    usb = ("-device", "qemu-xhci,id=usb")
    source = testbed.start_source(SMALL.but(args=(*usb, "-device", "usb-tablet,id=tablet", "-device", "usb-kbd,id=keyboard,port=2")))
    source.command("device_del", id="tablet")
    there = SMALL.but(args=(*usb, "-device", "usb-kbd,id=keyboard,port=2"))
    migration = testbed.migrate(source, there, guide="on")
    report = migration.wait_completed(there)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["guide"]["ended"] == "complete", report["guide"]


@pytest.fixture
def tpm(testbed: Testbed) -> Iterator[Callable[[str], tuple[str, ...]]]:
    """Options of a TPM with an emulator of its own, as libvirt starts one."""
    servers = []

    def start(model: str) -> tuple[str, ...]:
        directory = testbed.new_directory("tpm")
        path = directory / "socket"
        servers.append(subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}",
                                         "--ctrl", f"type=unixio,path={path}", "--terminate"]))
        wait_for("swtpm listens", path.exists, 10)
        return "-chardev", f"socket,id=chrtpm,path={path}", "-tpmdev", "emulator,id=tpm0,chardev=chrtpm", "-device", f"{model},tpmdev=tpm0"

    yield start
    for server in servers:
        server.kill()
        server.wait()


@pytest.mark.parametrize("model", ["tpm-crb", "tpm-tis"])
def test_a_tpm(testbed: Testbed, tpm: Callable[[str], tuple[str, ...]], model: str) -> None:
    """The guide has none, and what it loads does not mention it."""
    source = testbed.start_source(SMALL.but(args=tpm(model)))
    there = SMALL.but(args=tpm(model))
    migration = testbed.migrate(source, there, guide="on")
    report = migration.wait_completed(there)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["guide"]["ended"] == "complete", report["guide"]


@pytest.fixture
def bus(testbed: Testbed) -> Iterator[Path]:
    """A D-Bus of this test."""
    path = testbed.new_directory("bus") / "socket"
    server = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={path}"])
    wait_for("dbus-daemon listens", path.exists, 10)
    yield path
    server.kill()
    server.wait()


def test_state_of_other_processes(testbed: Testbed, bus: Path) -> None:
    spec = SMALL.but(args=("-object", f"dbus-vmstate,id=vmstate0,addr=unix:path={bus}"))
    migration = testbed.migrate(testbed.start_source(spec), spec, guide="on")
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["guide"]["started"] and report["guide"]["ended"] == "complete", report["guide"]
