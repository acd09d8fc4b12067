# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of VMs that libvirt confines by AppArmor and runs as another user than root, as Debian and Ubuntu do."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from gclab import apparmor
from gclab.libvirt_hosts import LibvirtHosts, missing

KVM = Path("/dev/kvm")
USERFAULTFD = Path("/proc/sys/vm/unprivileged_userfaultfd")


@pytest.fixture(scope="module")
def confined() -> Iterator[LibvirtHosts]:
    if reason := missing() or apparmor.missing():
        pytest.skip(reason)
    # As udev would.
    KVM.chmod(0o660)
    shutil.chown(KVM, group="kvm")
    before = USERFAULTFD.read_text()
    USERFAULTFD.write_text("1")
    pair = LibvirtHosts("libvirt-qemu", security="apparmor")
    yield pair
    pair.close()
    USERFAULTFD.write_text(before)


@pytest.fixture
def hosts(confined: LibvirtHosts) -> Iterator[LibvirtHosts]:
    yield confined
    confined.clear()


@pytest.mark.lab
@pytest.mark.parametrize("capture", ["kmod", "userfault"])
def test_confined_vm_moves(hosts: LibvirtHosts, capture: str) -> None:
    vm = hosts.start()
    label = f"libvirt-{hosts.a.virsh_ok('domuuid', vm.name)} (enforce)"
    assert hosts.a.label(hosts.a.qemu_pid(vm.name)) == label
    migration = hosts.migrate(vm, "--capture", capture, guide="on")
    assert hosts.a.label(migration.migrate.wait_event("guide-started")["pid"]) == label
    report = migration.wait_completed(hosts.RAM_MIB)
    assert hosts.b.label(hosts.b.qemu_pid(vm.name)) == label
    assert (report["capture"], report["guide"]["ended"]) == (capture, "complete"), report["guide"]
