# SPDX-License-Identifier: GPL-2.0-or-later
"""One test's QEMUs, gcctls and files: started, migrated, and all gone at the end."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import vm as vms
from .environment import GUEST, IN_LAB, SLOW
from .far_host import FarHost
from .gcctl import CLASSES, EXIT_DONE, Gcctl, read_report
from .proxy import Proxy
from .vm import MIB, Spec, Vm


@dataclass
class Migration:
    """A migration under way between two VMs."""

    source: Vm
    destination: Vm
    receive: Gcctl
    migrate: Gcctl
    report_path: Path
    proxy: Proxy | None = None

    def report(self) -> dict[str, Any]:
        return read_report(self.report_path)

    def wait_completed(self, spec: Spec, timeout: float = 60, source_is_left: bool = True) -> dict[str, Any]:
        """Both ends succeed, every page went exactly once, and the guest runs on unharmed at the destination."""
        status = self.migrate.wait(timeout)
        assert status == EXIT_DONE, f"gcctl migrate: {status}: {self.migrate.errors()}"
        assert self.receive.wait(10) == EXIT_DONE, self.receive.errors()
        report = self.report()
        assert report["result"] == "completed" and report["error"] == ""
        pages = report["pages"]
        assert sum(pages[name] for name in CLASSES) == pages["total"]
        assert pages["total"] >= spec.ram_mib * MIB // 4096
        assert 0 < report["downtime_ms"] <= report["total_ms"]
        if source_is_left:
            assert self.source.migration_status() == "completed"
            assert self.source.status() == "postmigrate"
        assert self.destination.migration_status() == "completed"
        assert self.destination.status() == "running"
        return report


class Bench:
    def __init__(self) -> None:
        # Short, since unix socket paths may have 107 bytes only; and not in build/, which the lab has on 9p.
        self.directory = Path(tempfile.mkdtemp(prefix="gc-e2e-", dir="/tmp"))
        # Every QEMU of this test, guides too, has this name on its command line.
        self.kernel = self.directory / "kernel"
        self.running: list[Vm | Gcctl] = []
        self.proxies: list[Proxy] = []
        self.runs = 0

    def _link_kernel(self, spec: Spec) -> Path:
        if not self.kernel.exists():
            self.kernel.symlink_to(spec.kernel or GUEST)
        return self.kernel

    def start(self, spec: Spec, name: str = "source", incoming: bool = False) -> Vm:
        self.runs += 1
        vm = vms.start(self.directory, f"{name}-{self.runs}", spec, self._link_kernel(spec), incoming)
        self.running.append(vm)
        return vm

    def start_source(self, spec: Spec, source_args: tuple[str, ...] = ()) -> Vm:
        """A source whose guest has filled its memory and runs."""
        source = self.start(spec.but(args=spec.args + source_args))
        source.wait_running(passes=1, timeout=40)
        return source

    def _new_directory(self, name: str) -> Path:
        self.runs += 1
        directory = self.directory / f"{name}-{self.runs}"
        directory.mkdir()
        return directory

    def receive(self, qmp: str, address: str, *options: str, enter: tuple[str, ...] = ()) -> Gcctl:
        receive = Gcctl(self._new_directory("receive"), "receive", "--qmp", qmp, "--listen", f"{address}:0", *options, enter=enter)
        self.running.append(receive)
        return receive

    def migrate(self, source: Vm, spec: Spec, *options: str, guide: str = "off", receive_options: tuple[str, ...] = (),
                proxy: dict[str, Any] | None = None, far: FarHost | None = None) -> Migration:
        """Starts a destination and both gcctls: over the loopback, or with `receive` on the far host."""
        there = far.bench(self) if far else self
        destination = there.start(spec, "destination", incoming=True)
        address = far.address if far else "127.0.0.1"
        receive = there.receive(destination.gcctl_qmp(), address, *receive_options, enter=far.enter if far else ())
        port = receive.wait_event("listening")["port"]
        carrier = None
        if proxy is not None:
            carrier = Proxy(port, **proxy)
            self.proxies.append(carrier)
            port = carrier.port
        directory = self._new_directory("migration")
        report = directory / "report.json"
        if not far:
            options = ("--policy", "none", *options)  # there is no NIC to shape
        migrate = Gcctl(directory, "migrate", "--qmp", str(source.qmp_path), "--to", f"{address}:{port}",
                        "--report", str(report), "--guide", guide, *options)
        self.running.append(migrate)
        return Migration(source, destination, receive, migrate, report, carrier)

    def migrate_completely(self, source: Vm, spec: Spec, *options: str, guide: str = "off") -> dict[str, Any]:
        migration = self.migrate(source, spec, *options, guide=guide)
        report = migration.wait_completed(spec)
        migration.destination.wait_running()
        source.check()
        return report

    # What gcctl must not leave behind.

    def processes(self) -> dict[int, str]:
        """Of this test: QEMUs, guides, gcctls and their children, by their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if str(self.directory) in command:
                        found[int(entry.name)] = command
            except OSError:
                continue  # gone meanwhile
        return found

    def temporary_files(self) -> list[str]:
        return [str(p) for temp in self.directory.glob("*/tmp") for p in temp.iterdir()]

    def describe(self) -> str:
        """The ends of all logs, for a failed test's report."""
        parts = [f"process {p.process.pid} ({p.name if isinstance(p, Vm) else p.command}): "
                 f"{'runs' if p.process.poll() is None else f'ended with {p.process.returncode}'}" for p in self.running]
        for path in sorted(self.directory.rglob("*")):
            if path.suffix in (".serial", ".stderr", ".out", ".err", ".json") and path.is_file() and path.stat().st_size:
                text = path.read_text(errors="replace")
                parts.append(f"---- {path.relative_to(self.directory)}\n{text[-1500:]}")
        return "\n".join(parts)

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.cut()
        for process in reversed(self.running):
            process.kill()
        left = self.processes()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not left, f"still running after the test: {left}"


def links() -> list[str]:
    """The network links of this namespace."""
    shown = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True, timeout=10 * SLOW).stdout
    return sorted(link["ifname"] for link in json.loads(shown))


def namespaces() -> set[str]:
    """All network namespaces that processes live in. In the lab these are only ours."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net") if IN_LAB else []:
        try:
            found.add(os.readlink(path))
        except OSError:
            continue  # gone meanwhile
    return found
