# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts with a libvirtd each, on one machine. A host is a network, a mount and a UTS namespace with its own
/etc/libvirt, /run, /var/lib/libvirt, /var/log/libvirt and /var/cache/libvirt. Needs root."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import apparmor, demo_guest
from .environment import GUEST, IN_LAB, SLOW, kernels
from .gcctl import EXIT_DONE, Gcctl, Report, page_classes, read_report, run, state_env
from .network import Namespace
from .vm import MIB, PAGE_SIZE, WORK_MIB, MemoryGuest, Progress
from .wait import wait_for

LIBVIRTD = "/usr/sbin/libvirtd"

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 1
listen_addr = "{address}"
auth_tcp = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""

QEMU_CONF = """\
user = "{user}"
group = "{group}"
security_driver = "{security}"
stdio_handler = "file"
"""

PREPARE = """\
set -e
mount --make-rprivate /
mount --bind {files}/etc /etc/libvirt
[ ! -e {files}/apparmor.d ] || mount --bind {files}/apparmor.d /etc/apparmor.d
for directory in lib log cache; do mount --bind {files}/$directory /var/$directory/libvirt; done
mount -t tmpfs run /run
mount --bind {files}/hosts /etc/hosts
hostname {name}
mkdir -p /var/lib/libvirt/qemu
touch {files}/ready
exec sleep infinity
"""

# libvirt has no migration without pre-copy, in which QEMU under TCG loses writes. gcctl holds it to 100 KiB per 100 ms:
# until it can switch over, it sends of this, which the guest does not write.
IDLE = "idle=8M"

TYPE = "kvm" if IN_LAB else "qemu"
DOMAIN = """\
<domain type='{type}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{ram}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    {firmware}
    <kernel>{kernel}</kernel>
    {initrd}
    <cmdline>{append}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {cpu}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='file'><source path='/var/log/libvirt/{name}.serial' append='on'/><target port='0'/></serial>
    <memballoon model='virtio'/>
    {devices}
  </devices>
</domain>
"""


def migration_uri(socket: str, domain: str) -> str:
    """What libvirt is told of a socket of gcctl's."""
    return f"unix:///run/libvirt/guidecopy/{socket}/m.tunnelmigrate.dest.{domain}"


def missing() -> str:
    """Why there can be no such hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path(LIBVIRTD).exists() or not shutil.which("virsh"):
        return "libvirt is not installed (packages libvirt-daemon-system, libvirt-clients)"
    return ""


def version() -> tuple[int, ...]:
    """Of libvirt on this machine; empty if there is none."""
    if missing():
        return ()
    done = subprocess.run([LIBVIRTD, "--version"], capture_output=True, text=True, check=True, timeout=30)
    return tuple(map(int, done.stdout.split()[-1].split(".")))


class LibvirtHost:
    def __init__(self, directory: Path, name: str, address: str, names: dict[str, str], user: str, security: str) -> None:
        self.name, self.address = name, address
        self.uri = f"qemu+tcp://{name}/system"  # as the other host reaches it
        self.namespace = Namespace(f"gc-{name}")
        self._files = directory / name
        self._security = security
        if security == "apparmor":  # libvirt writes a profile for each VM there
            shutil.copytree("/etc/apparmor.d", self._files / "apparmor.d", symlinks=True)
        for part in ("etc", "lib", "log", "cache"):
            (self._files / part).mkdir(parents=True)
        (self._files / "etc" / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(address=address, uuid=uuid.uuid4()))
        self._set_user(user)
        (self._files / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in names.items()))
        # Of QEMUs that are not root's.
        for path in (directory, self._files, self._files / "log"):
            path.chmod(0o755)
        self.namespace.create()
        self._holder: "subprocess.Popen[bytes] | None" = None
        self._daemon: "subprocess.Popen[bytes] | None" = None

    def _set_user(self, user: str) -> None:
        group = user if user == "root" else "kvm"
        (self._files / "etc" / "qemu.conf").write_text(QEMU_CONF.format(user=user, group=group, security=self._security))

    def restart_daemon(self, user: str) -> None:
        """With QEMUs of another user from now on."""
        self.stop_daemon()
        self._set_user(user)
        self.start_daemon()

    @property
    def launcher(self) -> tuple[str, ...]:
        """What a command line begins with that is to run there."""
        assert self._holder
        enter = ("nsenter", "-t", str(self._holder.pid), "-n", "-m", "-u")
        return (*enter, *apparmor.inside(self.name)) if self._security == "apparmor" else enter

    def start(self) -> None:
        """After its NIC has its address."""
        self.namespace.ip("link", "set", "lo", "up")
        with (self._files / "prepare.log").open("wb") as log:
            self._holder = subprocess.Popen(
                self.namespace.command("unshare", "--mount", "--uts", "--", "sh", "-c", PREPARE.format(files=self._files, name=self.name)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"{self.name} is prepared", (self._files / "ready").exists, 10 * SLOW)
        if self._security == "apparmor":
            apparmor.make_namespace(self.name)
            for profile in ("usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper"):
                apparmor.replace(f"/etc/apparmor.d/{profile}", self.launcher)
        self.start_daemon()

    def start_daemon(self) -> None:
        with (self._files / "libvirtd.out").open("ab") as log:
            self._daemon = subprocess.Popen([*self.launcher, LIBVIRTD, "--listen"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"the libvirtd of {self.name} answers", lambda: self.virsh("list").returncode == 0, 20 * SLOW)

    def stop_daemon(self) -> None:
        """Its QEMUs run on."""
        if self._daemon and self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                self._daemon.wait(10 * SLOW)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()

    def virsh(self, *arguments: str, timeout: float = 30) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*self.launcher, "virsh", "-q", "-c", "qemu:///system", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=timeout * SLOW)

    def virsh_ok(self, *arguments: str) -> str:
        done = self.virsh(*arguments)
        assert done.returncode == 0, f"virsh {' '.join(arguments)} at {self.name}: {done.stderr}"
        return done.stdout.strip()

    def state(self, domain: str) -> str:
        """Such as "running (migrated)"; empty if there is no such domain."""
        return self.virsh("domstate", "--reason", domain).stdout.strip()

    def has_job(self, domain: str) -> bool:
        return "None" not in self.virsh_ok("domjobinfo", domain)

    def serial(self, domain: str) -> Path:
        return self._files / "log" / f"{domain}.serial"

    def nvram(self, domain: str) -> bytes:
        """The variables of its UEFI, as libvirt keeps them."""
        return (self._files / "lib" / "qemu" / "nvram" / f"{domain}_VARS.fd").read_bytes()

    def qemu_pid(self, domain: str) -> int:
        """Of a domain that runs."""
        return int(self._read(f"/run/libvirt/qemu/{domain}.pid"))

    def label(self, pid: int) -> str:
        """The AppArmor label of a process there."""
        return self._read(f"/proc/{pid}/attr/apparmor/current").strip()

    def _read(self, path: str) -> str:
        return subprocess.run([*self.launcher, "cat", path], capture_output=True, text=True, check=True, timeout=10 * SLOW).stdout

    def describe(self) -> str:
        parts = []
        for path in sorted(self._files.rglob("*")):
            if path.suffix in (".log", ".out", ".serial") and path.is_file() and path.stat().st_size:
                parts.append(f"---- {self.name} {path.name}\n{path.read_text(errors='replace')[-1500:]}")
        return "\n".join(parts)

    def close(self) -> None:
        self.stop_daemon()

        def pids() -> list[int]:
            return [int(pid) for pid in self.namespace_pids() if not self._holder or int(pid) != self._holder.pid]

        def kill() -> bool:
            for pid in pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return not pids()

        wait_for(f"the QEMUs of {self.name} have ended", kill, 10 * SLOW)
        if self._holder:
            self._holder.kill()
            self._holder.wait()
        self.namespace.delete()
        if self._security == "apparmor":
            apparmor.delete_namespace(self.name)

    def namespace_pids(self) -> list[str]:
        return subprocess.run(["ip", "netns", "pids", self.namespace.name], capture_output=True, text=True, check=True,
                              timeout=10 * SLOW).stdout.split()


class LibvirtVm(MemoryGuest):
    """A VM of libvirt's with the self-checking guest, as the console of one host shows it."""

    def __init__(self, host: LibvirtHost, name: str) -> None:
        self.host, self.name, self.cpus = host, name, 1
        self._serial = host.serial(name)

    def check_alive(self) -> None:
        assert self.host.state(self.name).startswith("running"), f"{self.name} at {self.host.name}: {self.host.state(self.name)}"

    def at(self, host: LibvirtHost) -> "LibvirtVm":
        return type(self)(host, self.name)


class LinuxVm(LibvirtVm):
    """A VM with the demo's Linux, whose batch job checks its memory."""

    def progress(self) -> dict[int, Progress]:
        reports = re.findall(r"^BATCH rounds (\d+) errs (\d+)\r?$", self.serial(), re.M)
        return {0: Progress(*map(int, reports[-1]))} if reports else {}

    def check(self) -> None:
        assert all(progress.errors == 0 for progress in self.progress().values()), self.progress()
        assert "Kernel panic" not in self.serial(), self.serial()[-2000:]


@dataclass
class LibvirtMigration:
    source: LibvirtVm
    destination: LibvirtVm
    receive: Gcctl
    migrate: Gcctl
    report_path: Path

    def report(self) -> Report:
        return read_report(self.report_path)

    def wait_completed(self, ram_mib: int, timeout: float = 60) -> Report:
        """Both ends succeed, the counts of pages add up, and libvirt has the VM at the destination alone."""
        status = self.migrate.wait(timeout)
        assert status == EXIT_DONE, f"gcctl migrate: {status}: {self.migrate.errors()}"
        assert self.receive.wait(10) == EXIT_DONE, self.receive.errors()
        report = self.report()
        pages = report["pages"]
        assert report["result"] == "completed" and report["error"] == ""
        assert sum(pages[name] for name in page_classes(report)) == pages["total"] >= ram_mib * MIB // PAGE_SIZE
        assert 0 < report["downtime_ms"] <= report["total_ms"]
        self.check_moved()
        return report

    def check_moved(self) -> None:
        name = self.source.name
        assert self.source.host.state(name) == "shut off (migrated)"
        assert self.destination.host.state(name).startswith("running (")
        assert not self.destination.host.has_job(name)
        self.destination.wait_running()
        self.source.check()
        self.destination.check()

    def check_stayed(self) -> None:
        """The VM runs on at the source, and libvirt has no job of it there and no domain at the destination."""
        name = self.source.name
        # A daemon that has just started comes to know it when it has connected to its QEMUs.
        wait_for(f"{name} runs", lambda: self.source.host.state(name).startswith("running ("), 10 * SLOW)
        assert not self.source.host.has_job(name)
        wait_for("the destination's libvirt has ended its copy", lambda: self.destination.host.state(name) in ("", "shut off (failed)"),
                 10 * SLOW)
        self.source.wait_running()
        self.source.check()
        assert "G " not in self.destination.serial(), "the VM ran at the destination"


class LibvirtHosts:
    """Two hosts, `a` and `b`, and what a test starts there."""

    ADDRESSES = {"hosta": "10.78.0.1", "hostb": "10.78.0.2"}
    RAM_MIB = 128

    def __init__(self, user: str = "root", security: str = "none") -> None:
        """`security`: of the drivers in qemu.conf."""
        self.directory = Path(tempfile.mkdtemp(prefix="gc-libvirt-", dir="/tmp"))
        self.kernel = self.directory / "kernel"
        shutil.copy(GUEST, self.kernel)
        self.a, self.b = (LibvirtHost(self.directory, name, address, self.ADDRESSES, user, security) for name, address in self.ADDRESSES.items())
        self._runs = 0
        self._gcctls: list[Gcctl] = []
        self._virshs: "list[subprocess.Popen[str]]" = []
        try:
            self.a.namespace.veth("nic", "nic", self.b.namespace)
            for host in (self.a, self.b):
                host.namespace.address("nic", f"{host.address}/24")
                host.start()
        except BaseException:
            self.close()
            raise

    def define(self, name: str, append: str = f"mode=check size={WORK_MIB}M", devices: str = "", ram_mib: int = RAM_MIB,
               cpu: str = "", firmware: str = "", linux: tuple[Path, Path] | None = None) -> Path:
        """The file with the domain's XML. `linux`: another kernel, and its initramfs."""
        kernel, initrd = (linux[0], f"<initrd>{linux[1]}</initrd>") if linux else (self.kernel, "")
        path = self.directory / f"{name}.xml"
        path.write_text(DOMAIN.format(type=TYPE, name=name, uuid=uuid.uuid4(), ram=ram_mib, machine="pc-q35-7.2", firmware=firmware,
                                      kernel=kernel, initrd=initrd, append=f"{append} {IDLE}", devices=devices, cpu=cpu))
        return path

    def start(self, append: str = f"mode=check size={WORK_MIB}M", devices: str = "", running: bool = True,
              ram_mib: int = RAM_MIB, cpu: str = "") -> LibvirtVm:
        """A VM at `a`; its guest has filled its memory and runs, unless that is not awaited."""
        vm = LibvirtVm(self.a, self._start(append=append, devices=devices, ram_mib=ram_mib, cpu=cpu))
        if running:
            vm.wait_running(passes=1, timeout=40)
        return vm

    def start_linux(self, firmware: str, devices: str, ram_mib: int) -> LinuxVm:
        """With firmware that knows no PVH: it boots a kernel as distributions have it."""
        demo = demo_guest.spec("batch=16")
        assert demo.initrd
        vm = LinuxVm(self.a, self._start(append=demo.append, devices=devices, ram_mib=ram_mib, firmware=firmware,
                                         linux=(Path(f"/boot/vmlinuz-{kernels()[0]}"), demo.initrd)))
        vm.wait_running(passes=1, timeout=120)
        return vm

    def _start(self, **domain: Any) -> str:
        """Returns the name of a new domain at `a`, as define() makes it."""
        self._runs += 1
        name = f"vm{self._runs}"
        self.a.virsh_ok("define", str(self.define(name, **domain)))
        self.a.virsh_ok("start", name)
        return name

    def gcctl(self, host: LibvirtHost, command: str, *options: str) -> Gcctl:
        self._runs += 1
        directory = self.directory / host.name / f"{command}-{self._runs}"
        directory.mkdir()
        process = Gcctl(directory, command, *options, launcher=host.launcher)
        self._gcctls.append(process)
        return process

    def receive(self, *options: str) -> tuple[Gcctl, str]:
        """Returns where it listens, too."""
        security = () if any(option.startswith("--tls") for option in options) else ("--insecure",)
        receive = self.gcctl(self.b, "receive", "--connect", "qemu:///system", "--listen", f"{self.b.address}:0", *security, *options)
        return receive, f"{self.b.name}:{receive.wait_event('listening')['port']}"

    def migrate(self, vm: LibvirtVm, *options: str, guide: str = "off", receive_options: tuple[str, ...] = (),
                reconnect_limit: float = 30) -> LibvirtMigration:
        reconnect = ("--reconnect-limit", f"{int(reconnect_limit * 1000)}ms")
        receive, to = self.receive(*reconnect, *receive_options)
        report = self.directory / f"{vm.name}.json"
        security = () if any(option.startswith("--tls") for option in options) else ("--insecure",)
        migrate = self.gcctl(self.a, "migrate", "--connect", "qemu:///system", vm.name, "--to", to, "--destination-uri", self.b.uri,
                             "--guide", guide, "--policy", "none", "--report", str(report), *security, *reconnect, *options)
        return LibvirtMigration(vm, vm.at(self.b), receive, migrate, report)

    def proxy(self, vm: LibvirtVm, *options: str, guide: str = "off", socket: str = "lab") -> LibvirtMigration:
        """Both ends of a migration that virsh() drives: the proxy waits for it."""
        receive, to = self.receive("--socket", socket)
        report = self.directory / f"{vm.name}.json"
        proxy = self.gcctl(self.a, "proxy", "--connect", "qemu:///system", vm.name, "--to", to, "--socket", socket, "--guide", guide,
                           "--policy", "none", "--insecure", "--report", str(report), *options)
        assert proxy.wait_event("waiting")["uri"] == migration_uri(socket, vm.name)
        return LibvirtMigration(vm, vm.at(self.b), receive, proxy, report)

    def virsh_migrate(self, vm: LibvirtVm, *options: str, socket: str = "lab", mib_per_s: int = 1) -> "subprocess.Popen[str]":
        """Begins a migration to gcctl proxy's socket."""
        command = [*self.a.launcher, "virsh", "-q", "-c", "qemu:///system", "migrate", "--live", "--postcopy", "--bandwidth", str(mib_per_s),
                   "--migrateuri", migration_uri(socket, vm.name), *options, vm.name, self.b.uri]
        self._virshs.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return self._virshs[-1]

    def virsh_postcopy(self, vm: LibvirtVm) -> None:
        """As soon as libvirt takes the command."""
        wait_for("post-copy begins", lambda: self.a.virsh("migrate-postcopy", vm.name).returncode == 0, 20 * SLOW)

    def start_idle(self, count: int) -> list[LibvirtVm]:
        """Small VMs that take little of the CPU."""
        vms = [self.start("mode=chase size=256K rest=2000", running=False, ram_mib=48) for _ in range(count)]
        for vm in vms:
            vm.wait_running(passes=1, timeout=40)
        return vms

    def evacuate(self, to: str, *options: str) -> Gcctl:
        """To one or more ports of `b`."""
        return self.gcctl(self.a, "evacuate", *self._evacuation(to), *options)

    def evacuate_as_text(self, to: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """The same to its end, without --json."""
        return run("evacuate", *self._evacuation(to), *options, launcher=self.a.launcher, timeout=60 * SLOW,
                   env=state_env(self.directory / self.a.name))

    def _evacuation(self, to: str) -> tuple[str, ...]:
        uris = ",".join([self.b.uri] * len(to.split(",")))
        return ("--connect", "qemu:///system", "--to", to, "--destination-uri", uris, "--insecure", "--guide", "off", "--policy", "none")

    def run(self, host: LibvirtHost, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A gcctl there, to its end, which knows the host's migrations."""
        return run(*arguments, launcher=host.launcher, env=state_env(self.directory / host.name))

    def status(self, host: LibvirtHost) -> Any:
        """What gcctl status says there."""
        done = self.run(host, "status", "--json")
        assert done.returncode == EXIT_DONE, done.stderr
        return json.loads(done.stdout)

    def describe(self) -> str:
        return "\n".join([*(f"---- {gcctl.command}: {gcctl.process.poll()}\n{gcctl.output_path.read_text()[-1500:]}{gcctl.errors()}"
                            for gcctl in self._gcctls), self.a.describe(), self.b.describe()])

    def clear(self) -> None:
        """Ends what a test has left."""
        for gcctl in self._gcctls:
            gcctl.end()
        self._gcctls.clear()
        for virsh in self._virshs:
            virsh.kill()
            virsh.communicate()
        self._virshs.clear()
        for host in (self.a, self.b):
            shutil.rmtree(self.directory / host.name / "state", ignore_errors=True)
            names = host.virsh_ok("list", "--all", "--name").split()
            for command in ("destroy", "undefine"):
                with ThreadPoolExecutor(max_workers=4) as executor:
                    list(executor.map(partial(host.virsh, command), names))

    def close(self) -> None:
        for gcctl in self._gcctls:
            gcctl.end()
        for host in (self.a, self.b):
            host.close()
        shutil.rmtree(self.directory, ignore_errors=True)
