# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs of libvirt's move, and libvirt has them at the destination, or still at the source."""

import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gclab.environment import CAPTURE, GUIDE_MODES, SLOW
from gclab.gcctl import EXIT_CANCELLED, EXIT_DONE, EXIT_FAILED, EXIT_NEEDS_OPERATOR, EXIT_REFUSED, run
from gclab.libvirt_hosts import LibvirtHosts, LibvirtMigration, version
from gclab.vm import PAGE_SIZE
from gclab.wait import wait_for

# Pre-copy that does not end by itself.
LONG_PRECOPY = ("--precopy-time", "600s", "--bandwidth", "8M")


@pytest.mark.parametrize("guide", GUIDE_MODES)
def test_switched_over_at_once(hosts: LibvirtHosts, guide: str) -> None:
    migration = hosts.migrate(hosts.start(), guide=guide)
    report = migration.wait_completed(hosts.RAM_MIB)
    assert report["capture"] == (CAPTURE if guide == "on" else "none"), report["guide"]
    assert report["guide"]["started"] == (guide == "on"), report["guide"]
    assert report["demand"]["faults"] > 0 or report["pages"]["guide"] > 0
    # The source's own post-copy pages are not sent.
    assert report["pages"]["precopy"] < report["pages"]["total"] // 4


def test_encrypted(hosts: LibvirtHosts) -> None:
    keys = hosts.directory / "keys.psk"
    subprocess.run(["psktool", "-u", "qemu", "-p", str(keys)], check=True, capture_output=True, timeout=30)
    migration = hosts.migrate(hosts.start(), "--tls-psk", str(keys), receive_options=("--tls-psk", str(keys)))
    report = migration.wait_completed(hosts.RAM_MIB)
    assert report["security"]["protection"] == "tls", report["security"]


def test_receiver_is_kept(hosts: LibvirtHosts) -> None:
    """One VM after the other, at one port, until the receiver is told to end."""
    receive, to = hosts.receive("--keep")
    for vm in hosts.start_idle(2):
        migrate = hosts.gcctl(hosts.a, "migrate", "--connect", "qemu:///system", vm.name, "--to", to, "--destination-uri", hosts.b.uri,
                              "--guide", "off", "--policy", "none", "--insecure")
        assert migrate.wait() == EXIT_DONE, migrate.errors()
        vm.at(hosts.b).wait_running(passes=1)
        vm.at(hosts.b).check()
    receive.signal(signal.SIGTERM)
    assert receive.wait(10) == EXIT_DONE, receive.errors()


def test_compressed(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), "--compress", "zstd")
    report = migration.wait_completed(hosts.RAM_MIB)
    assert report["compress"]["bytes"] > 0.5 * (report["pages"]["total"] - report["pages"]["zero"]) * PAGE_SIZE
    assert report["compress"]["sent"] < 0.65 * report["compress"]["bytes"]


def test_network_is_cut_in_postcopy(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), "--bandwidth", "4M")
    migration.migrate.wait_event("resumed")
    hosts.b.namespace.ip("link", "set", "nic", "down")
    migration.migrate.wait_event("connection-lost")
    time.sleep(2)
    hosts.b.namespace.ip("link", "set", "nic", "up")
    report = migration.wait_completed(hosts.RAM_MIB)
    assert report["connection_losses"] >= 1


def test_plugged_in_device_moves(hosts: LibvirtHosts) -> None:
    """It is not on the source's command line. Whether the guide has it is tested elsewhere."""
    vm = hosts.start()
    device = hosts.directory / "rng.xml"
    device.write_text("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")
    hosts.a.virsh_ok("attach-device", "--live", vm.name, str(device))
    hosts.migrate(vm, guide="on").wait_completed(hosts.RAM_MIB)
    assert "/dev/urandom" in hosts.b.virsh_ok("dumpxml", vm.name)


DISK = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>"
OVMF, OVMF_VARIABLES = (Path(f"/usr/share/OVMF/OVMF_{part}_4M.fd") for part in ("CODE", "VARS"))
UEFI = f"<loader readonly='yes' type='pflash'>{OVMF}</loader><nvram template='{OVMF_VARIABLES}'/>"
TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"


@pytest.mark.parametrize("guide", GUIDE_MODES)
def test_disk_with_a_snapshot_moves(hosts: LibvirtHosts, guide: str) -> None:
    disk = hosts.directory / f"disk-{guide}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "16M"], check=True, timeout=30)
    vm = hosts.start(devices=DISK.format(disk))
    hosts.a.virsh_ok("snapshot-create-as", vm.name, "before", "--disk-only", "--atomic", "--no-metadata")
    # This host's file system is both hosts', but libvirt does not know that.
    migration = hosts.migrate(vm)
    check_refused(migration, "Migration without shared storage is unsafe")
    migration.receive.end()
    hosts.migrate(vm, "--unsafe", guide=guide).wait_completed(hosts.RAM_MIB)
    described = hosts.b.virsh_ok("dumpxml", vm.name)
    assert "before" in described and re.search(rf"<backingStore.*{disk.name}", described, re.S), described


@pytest.mark.skipif(not shutil.which("swtpm_setup"), reason="there is no emulated TPM here (packages swtpm, swtpm-tools)")
@pytest.mark.parametrize("guide", GUIDE_MODES)
def test_tpm_moves(hosts: LibvirtHosts, guide: str) -> None:
    hosts.migrate(hosts.start(devices=TPM), guide=guide).wait_completed(hosts.RAM_MIB)


@pytest.mark.skipif(not OVMF.exists(), reason="there is no UEFI firmware for VMs here (package ovmf)")
def test_uefi_with_its_variables_and_a_tpm_moves(hosts: LibvirtHosts) -> None:
    vm = hosts.start_linux(UEFI, TPM, ram_mib=256)
    report = hosts.migrate(vm, guide="on").wait_completed(256)
    assert report["guide"]["started"], report["guide"]
    # The firmware has written its boot order there. Each host has a file of its own.
    assert hosts.a.nvram(vm.name) == hosts.b.nvram(vm.name) != OVMF_VARIABLES.read_bytes()


def test_abort_comes_too_late(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), "--bandwidth", "4M")
    migration.migrate.wait_event("resumed")
    aborted = hosts.a.virsh("domjobabort", migration.source.name)
    assert aborted.returncode != 0 and "post-copy" in aborted.stderr, aborted.stderr
    migration.wait_completed(hosts.RAM_MIB)


def test_persistent_domain_moves(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), "--persistent", "--undefinesource")
    assert migration.migrate.wait() == 0, migration.migrate.errors()
    assert migration.source.name not in hosts.a.virsh_ok("list", "--all", "--name").split()
    assert migration.source.name in hosts.b.virsh_ok("list", "--persistent", "--name").split()
    migration.destination.wait_running()
    migration.destination.check()


@pytest.mark.parametrize("compress", ["off", "lz4"])
def test_precopy_converges(hosts: LibvirtHosts, compress: str) -> None:
    """A guest that has stopped to write: QEMU completes pre-copy by itself."""
    vm = hosts.start("mode=check size=16M passes=6", running=False)
    wait_for("the guest has stopped to write", lambda: "DONE" in vm.serial(), 40 * SLOW)
    migration = hosts.migrate(vm, "--precopy-rounds", "50", "--compress", compress)
    assert migration.migrate.wait() == 0, migration.migrate.errors()
    assert migration.receive.wait(10) == 0, migration.receive.errors()
    assert hosts.a.state(vm.name) == "shut off (migrated)"
    assert hosts.b.state(vm.name).startswith("running (")


def check_refused(migration: LibvirtMigration, reason: str) -> None:
    assert migration.migrate.wait() == EXIT_REFUSED, migration.migrate.errors()
    assert re.search(reason, migration.migrate.errors()), migration.migrate.errors()


def test_only_checked(hosts: LibvirtHosts) -> None:
    vm = hosts.start()
    migration = hosts.migrate(vm, "--check")
    assert migration.migrate.wait() == 0, migration.migrate.errors()
    migration.receive.end()
    migration.check_stayed()


def test_destination_libvirt_refuses(hosts: LibvirtHosts) -> None:
    vm = hosts.start()
    xml = hosts.directory / f"{vm.name}.xml"
    other = hosts.directory / "other.xml"
    # The same name, another VM.
    other.write_text(re.sub("<uuid>.*</uuid>", "", xml.read_text()))
    hosts.b.virsh_ok("define", str(other))
    migration = hosts.migrate(vm)
    check_refused(migration, "already exists")
    assert hosts.a.state(vm.name).startswith("running (") and not hosts.a.has_job(vm.name)
    vm.wait_running()
    vm.check()


@pytest.fixture
def unprivileged_qemu(hosts: LibvirtHosts) -> Iterator[None]:
    """QEMUs of the user whom Debian's libvirt gives them, who may use userfaultfd."""
    allowed = Path("/proc/sys/vm/unprivileged_userfaultfd")
    before = allowed.read_text()
    allowed.write_text("1")
    for host in (hosts.a, hosts.b):
        host.restart_daemon("libvirt-qemu")
    try:
        yield
    finally:
        for host in (hosts.a, hosts.b):
            host.restart_daemon("root")
        allowed.write_text(before)


@pytest.mark.usefixtures("unprivileged_qemu")
@pytest.mark.parametrize("guide", GUIDE_MODES)
def test_qemu_without_privileges(hosts: LibvirtHosts, guide: str) -> None:
    vm = hosts.start()
    assert f"Uid:\t{pwd.getpwnam('libvirt-qemu').pw_uid}\t" in Path(f"/proc/{hosts.a.qemu_pid(vm.name)}/status").read_text()
    report = hosts.migrate(vm, guide=guide).wait_completed(hosts.RAM_MIB)
    assert report["guide"]["started"] == (guide == "on"), report["guide"]


@pytest.mark.skipif(Path("/proc/sys/vm/unprivileged_userfaultfd").read_text().strip() == "1",
                    reason="every user has userfaultfd here")
def test_qemus_user_has_no_userfaultfd(hosts: LibvirtHosts) -> None:
    """Known before a source comes."""
    hosts.b.restart_daemon("libvirt-qemu")
    try:
        receive = hosts.gcctl(hosts.b, "receive", "--connect", "qemu:///system", "--listen", f"{hosts.b.address}:0", "--insecure")
        assert receive.wait() == EXIT_REFUSED, receive.errors()
        assert "sysctl -w vm.unprivileged_userfaultfd=1" in receive.errors()
    finally:
        hosts.b.restart_daemon("root")


def test_interrupted_before_the_switch_over(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), *LONG_PRECOPY)
    migration.migrate.wait_event("started")
    time.sleep(1)
    migration.migrate.signal(signal.SIGINT)
    assert migration.migrate.wait() == EXIT_CANCELLED, migration.migrate.errors()
    assert migration.receive.wait(10) in (EXIT_CANCELLED, EXIT_FAILED), migration.receive.errors()
    migration.check_stayed()


def test_receive_is_killed_in_precopy(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), *LONG_PRECOPY, reconnect_limit=5)
    migration.migrate.wait_event("started")
    time.sleep(1)
    migration.receive.process.kill()
    assert migration.migrate.wait() == EXIT_FAILED, migration.migrate.errors()
    migration.check_stayed()


def test_migrate_is_killed_in_precopy(hosts: LibvirtHosts) -> None:
    migration = hosts.migrate(hosts.start(), *LONG_PRECOPY, reconnect_limit=5)
    migration.migrate.wait_event("started")
    time.sleep(1)
    migration.migrate.process.kill()
    assert migration.receive.wait() != 0
    migration.check_stayed()


@pytest.mark.skipif(version() >= (11,), reason="the destination's libvirtd 11.3 crashes upon --postcopy-resume, without gcctl, too")
@pytest.mark.parametrize("killed", ["migrate", "receive"])
def test_killed_after_the_commit_and_finished_by_virsh(hosts: LibvirtHosts, killed: str) -> None:
    migration = hosts.migrate(hosts.start(), "--bandwidth", "2M", reconnect_limit=3)
    migration.migrate.wait_event("resumed")
    victim, other = (migration.migrate, migration.receive) if killed == "migrate" else (migration.receive, migration.migrate)
    victim.process.kill()
    assert other.wait() == EXIT_NEEDS_OPERATOR, other.errors()
    command = re.search(r"virsh (migrate .*--postcopy-resume) (\S+) (\S+)", other.errors())
    assert command, other.errors()
    # Also when nobody has seen what it said.
    (here,) = hosts.status(hosts.a)
    assert here["domain"] == migration.source.name
    assert here["standing"] == "stranded" and here["type"][0].startswith("virsh migrate "), here
    (there,) = hosts.status(hosts.b)
    assert there["standing"] == "stranded" and there["there"], there
    if killed == "receive":
        assert here["type"][0] in other.errors()
    resumed = hosts.a.virsh(*here["type"][0].split()[1:], timeout=60)
    assert resumed.returncode == 0, resumed.stderr
    migration.check_moved()
    assert hosts.status(hosts.a)[0]["standing"] == "over"


@pytest.mark.parametrize("options,reason", [
    (("--qmp", "/x", "--connect", "qemu:///system", "vm"), "either"),
    (("--connect", "qemu:///system"), "name of a domain"),
    (("--connect", "qemu:///system", "vm", "--kill-source"), "excludes --kill-source"),
    (("--qmp", "/x", "--persistent"), "need --connect"),
])
def test_options_that_exclude_each_other(options: tuple[str, ...], reason: str) -> None:
    done = run("migrate", *options, "--to", "192.0.2.1:4444")
    assert done.returncode == 2 and reason in done.stderr


@pytest.mark.parametrize("options", [("--qmp", "/x"), ("--connect", "qemu:///system", "--wait", "1s")])
def test_only_a_receiver_under_libvirt_is_kept(options: tuple[str, ...]) -> None:
    done = run("receive", *options, "--listen", ":4444", "--keep")
    assert done.returncode == 2 and "--keep needs --connect" in done.stderr
