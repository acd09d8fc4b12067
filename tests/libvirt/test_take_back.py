# SPDX-License-Identifier: GPL-2.0-or-later
"""A destination QEMU that refuses the VM's state leaves libvirt's domain paused at the source, for ever: libvirt has no
way back from post-copy. gcctl take-back has one."""

import shlex

import pytest
from gclab.gcctl import EXIT_FAILED, EXIT_NEEDS_OPERATOR, EXIT_REFUSED
from gclab.libvirt_hosts import LibvirtHosts, LibvirtMigration, LibvirtVm

# The destination's QEMU is started from libvirt's description, which does not have the port.
CONTROLLER = "<controller type='virtio-serial' index='0'/>"
PORT = "unknown-to-libvirt"


@pytest.fixture
def vm(hosts: LibvirtHosts) -> LibvirtVm:
    vm = hosts.start(devices=CONTROLLER)
    monitor(hosts, vm.name, f"device_add virtserialport,bus=virtio-serial0.0,nr=7,name={PORT},id={PORT}")
    return vm


@pytest.fixture
def refused(hosts: LibvirtHosts, vm: LibvirtVm) -> LibvirtMigration:
    migration = hosts.migrate(vm)
    check_refused(hosts, migration)
    return migration


def check_refused(hosts: LibvirtHosts, migration: LibvirtMigration) -> None:
    assert migration.migrate.wait() == EXIT_NEEDS_OPERATOR, migration.migrate.errors()
    assert migration.receive.wait(20) == EXIT_FAILED, migration.receive.errors()
    assert "the VM did not run here" in migration.receive.errors()
    assert hosts.a.state(migration.source.name) == "paused (post-copy failed)"


def monitor(hosts: LibvirtHosts, name: str, command: str) -> None:
    hosts.a.virsh_ok("qemu-monitor-command", name, "--hmp", command)


def check_usable(hosts: LibvirtHosts, migration: LibvirtMigration) -> None:
    """libvirt has the VM as if nothing had happened."""
    migration.check_stayed()
    name = migration.source.name
    hosts.a.virsh_ok("suspend", name)
    hosts.a.virsh_ok("resume", name)
    monitor(hosts, name, f"device_del {PORT}")
    hosts.migrate(migration.source).wait_completed(hosts.RAM_MIB)


def test_by_the_commands_that_gcctl_names(hosts: LibvirtHosts, refused: LibvirtMigration) -> None:
    (here,) = hosts.status(hosts.a)
    assert here["standing"] == "stranded" and "did not run at the destination" in here["what"]
    stop, take_back, start = here["type"]
    assert f"{stop}; {take_back}; {start}" in refused.migrate.errors()
    arguments = shlex.split(take_back)[1:]

    early = hosts.run(hosts.a, *arguments)
    assert early.returncode == EXIT_REFUSED and stop in early.stderr, early.stderr

    hosts.a.stop_daemon()
    done = hosts.run(hosts.a, *arguments)
    assert done.returncode == 0 and "the VM runs here again" in done.stdout and start in done.stdout, done.stderr
    again = hosts.run(hosts.a, *arguments)
    assert again.returncode == 0 and "nothing was to be done" in again.stdout, again.stderr
    hosts.a.start_daemon()
    assert hosts.status(hosts.a) == []
    check_usable(hosts, refused)


def test_by_the_verdict_of_the_destination(hosts: LibvirtHosts, refused: LibvirtMigration) -> None:
    (here,) = hosts.status(hosts.a)
    (there,) = hosts.status(hosts.b)
    assert hosts.run(hosts.a, "status", "--forget", here["id"]).returncode == 0
    hosts.a.stop_daemon()
    name = refused.source.name
    blind = hosts.run(hosts.a, "take-back", "--domain", name)
    assert blind.returncode == EXIT_REFUSED and "--verdict" in blind.stderr, blind.stderr
    done = hosts.run(hosts.a, "take-back", "--domain", there["domain"], "--verdict", there["verdict"])
    assert done.returncode == 0, done.stderr
    hosts.a.start_daemon()
    check_usable(hosts, refused)


def test_of_a_migration_that_virsh_drives(hosts: LibvirtHosts, vm: LibvirtVm) -> None:
    migration = hosts.proxy(vm)
    hosts.virsh_migrate(vm)
    migration.migrate.wait_event("started")
    hosts.virsh_postcopy(vm)
    check_refused(hosts, migration)
    (here,) = hosts.status(hosts.a)
    assert "; ".join(here["type"]) in migration.migrate.errors()
    hosts.a.stop_daemon()
    done = hosts.run(hosts.a, *shlex.split(here["type"][1])[1:])
    assert done.returncode == 0, done.stderr
    hosts.a.start_daemon()
    migration.check_stayed()


@pytest.mark.parametrize("arguments", [(), ("--qmp", "/x", "--domain", "vm")])
def test_one_vm_is_named(hosts: LibvirtHosts, arguments: tuple[str, ...]) -> None:
    done = hosts.run(hosts.a, "take-back", *arguments)
    assert done.returncode == 2 and "either --qmp or --domain" in done.stderr
