# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh drives a migration, and gcctl proxy carries it."""

import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
from gclab import pacemaker
from gclab.environment import CAPTURE, GUIDE_MODES, SLOW
from gclab.gcctl import EXIT_CANCELLED, EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, run
from gclab.libvirt_hosts import LibvirtHosts, migration_uri
from gclab.wait import wait_for


def check_virsh(virsh: "subprocess.Popen[str]", reason: str = "") -> None:
    """It succeeds, or fails for this reason."""
    printed = virsh.communicate(timeout=60 * SLOW)[0]
    assert (virsh.returncode == 0) == (reason == "") and re.search(reason, printed), printed


@pytest.mark.parametrize("guide", GUIDE_MODES)
def test_virsh_switches_over(hosts: LibvirtHosts, guide: str) -> None:
    vm = hosts.start()
    migration = hosts.proxy(vm, guide=guide)
    virsh = hosts.virsh_migrate(vm)
    migration.migrate.wait_event("started")
    hosts.virsh_postcopy(vm)
    check_virsh(virsh)
    report = migration.wait_completed(hosts.RAM_MIB)
    assert report["capture"] == (CAPTURE if guide == "on" else "none"), report["guide"]
    assert report["guide"]["started"] == (guide == "on"), report["guide"]
    assert report["demand"]["faults"] > 0 or report["pages"]["guide"] > 0


def test_peer_to_peer(hosts: LibvirtHosts) -> None:
    """libvirtd itself drives, as it does for most programs that manage hosts."""
    vm = hosts.start()
    migration = hosts.proxy(vm)
    virsh = hosts.virsh_migrate(vm, "--p2p", "--persistent", "--undefinesource")
    migration.migrate.wait_event("started")
    hosts.virsh_postcopy(vm)
    check_virsh(virsh)
    assert migration.migrate.wait() == EXIT_DONE, migration.migrate.errors()
    assert migration.receive.wait(10) == EXIT_DONE, migration.receive.errors()
    assert vm.name not in hosts.a.virsh_ok("list", "--all", "--name").split()
    assert vm.name in hosts.b.virsh_ok("list", "--persistent", "--name").split()
    migration.destination.wait_running()
    migration.destination.check()


@pytest.fixture
def cluster(hosts: LibvirtHosts) -> Iterator[pacemaker.Cluster]:
    if reason := pacemaker.missing():
        pytest.skip(reason)
    cluster = pacemaker.Cluster(hosts)
    try:
        cluster.start()
        yield cluster
    finally:
        print(cluster.describe())  # pytest shows it when the test fails
        cluster.close()


def test_node_of_a_cluster_goes_to_standby(hosts: LibvirtHosts, cluster: pacemaker.Cluster) -> None:
    vm = hosts.start()
    migration = hosts.proxy(vm)
    # virsh asks for post-copy once, which is too early if QEMU's migration has not begun by then.
    cluster.manage(vm, migration_transport="tcp", migrateuri=migration_uri("lab", vm.name),
                   migrate_options="--postcopy --bandwidth 1 --timeout 10 --timeout-postcopy")
    cluster.standby(hosts.a)
    cluster.wait_started(vm, hosts.b)
    migration.wait_completed(hosts.RAM_MIB)


def test_precopy_converges(hosts: LibvirtHosts) -> None:
    """Nobody asks for post-copy, and the guest has stopped to write."""
    vm = hosts.start("mode=check size=16M passes=6", running=False)
    wait_for("the guest has stopped to write", lambda: "DONE" in vm.serial(), 40 * SLOW)
    migration = hosts.proxy(vm)
    check_virsh(hosts.virsh_migrate(vm, mib_per_s=100))
    assert migration.migrate.wait() == EXIT_DONE, migration.migrate.errors()
    assert migration.receive.wait(10) == EXIT_DONE, migration.receive.errors()
    assert hosts.a.state(vm.name) == "shut off (migrated)"
    assert hosts.b.state(vm.name).startswith("running (")


def test_aborted(hosts: LibvirtHosts) -> None:
    vm = hosts.start()
    migration = hosts.proxy(vm)
    virsh = hosts.virsh_migrate(vm)
    migration.migrate.wait_event("started")
    hosts.a.virsh_ok("domjobabort", vm.name)
    check_virsh(virsh, "abort|cancel")
    assert migration.migrate.wait() == EXIT_FAILED, migration.migrate.errors()
    assert migration.receive.wait(20) != EXIT_DONE
    migration.check_stayed()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_proxy_ends_in_precopy(hosts: LibvirtHosts, by: signal.Signals) -> None:
    vm = hosts.start()
    migration = hosts.proxy(vm)
    virsh = hosts.virsh_migrate(vm)
    migration.migrate.wait_event("started")
    migration.migrate.signal(by)
    check_virsh(virsh, "error")
    assert migration.migrate.wait() == (EXIT_CANCELLED if by == signal.SIGTERM else -signal.SIGKILL)
    migration.receive.wait(60)
    migration.check_stayed()
    # What a killed one has left does not stand in the way of the next.
    again = hosts.proxy(vm)
    virsh = hosts.virsh_migrate(vm)
    again.migrate.wait_event("started")
    hosts.virsh_postcopy(vm)
    check_virsh(virsh)
    again.wait_completed(hosts.RAM_MIB)


def test_destination_is_not_there(hosts: LibvirtHosts) -> None:
    """libvirt's migration fails; nothing has happened to the VM."""
    vm = hosts.start()
    migration = hosts.proxy(vm)
    migration.receive.end()
    hosts.gcctl(hosts.b, "receive", "--connect", "qemu:///system", "--listen", f"{hosts.b.address}:0", "--insecure", "--socket",
                "lab").wait_event("listening")  # at another port
    check_virsh(hosts.virsh_migrate(vm), "error")
    assert migration.migrate.wait() == EXIT_REFUSED, migration.migrate.errors()
    migration.check_stayed()


def test_waiting(hosts: LibvirtHosts) -> None:
    vm = hosts.start()
    first = hosts.proxy(vm)
    port = f"{hosts.b.name}:1"
    options = ("--connect", "qemu:///system", vm.name, "--to", port, "--insecure")
    second = hosts.gcctl(hosts.a, "proxy", *options, "--socket", "lab")
    assert second.wait() == EXIT_REFUSED and "another gcctl uses /run/libvirt/guidecopy/lab" in second.errors(), second.errors()
    # By default the socket has the VM's name.
    patient = hosts.gcctl(hosts.a, "proxy", *options, "--wait", "100ms")
    assert patient.wait() == EXIT_REFUSED and "no migration within 100 ms" in patient.errors(), patient.errors()
    assert patient.wait_event("waiting")["uri"] == migration_uri(vm.name, vm.name)
    first.migrate.signal(signal.SIGTERM)
    assert first.migrate.wait() == EXIT_CANCELLED, first.migrate.errors()
    vm.wait_running()
    vm.check()


@pytest.mark.parametrize("command,options,reason", [
    ("proxy", ("vm", "--to", "host:1", "--socket", "../x"), "cannot be a socket's name"),
    ("proxy", ("vm", "--to", "ssh://host/qmp"), "--connect excludes --to ssh"),
    ("proxy", ("--to", "host:1"), "needs the name of a domain"),
    ("receive", ("--listen", "host:1", "--socket", ".x"), "cannot be a socket's name"),
])
def test_wrong_options(command: str, options: tuple[str, ...], reason: str) -> None:
    done = run(command, "--connect", "qemu:///system", *options)
    assert done.returncode == EXIT_USAGE and reason in done.stderr, done.stderr
