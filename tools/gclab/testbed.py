# SPDX-License-Identifier: GPL-2.0-or-later
"""One test's QEMUs, gcctls and files. They are started, migrated, and all gone at the end."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .far_host import Far
from .gcctl import EXIT_DONE, Gcctl, Report, page_classes, read_report
from .proxy import Proxy
from .environment import SLOW
from .vm import MIB, PAGE_SIZE, Spec, Vm
from .wait import wait_for


def in_clear(address: str) -> tuple[str, ...]:
    """Most tests are of other things than TLS; on the loopback gcctl does without by itself."""
    return () if address == "127.0.0.1" else ("--insecure",)


@dataclass
class Migration:
    """A migration between two VMs that has been started. With a far host that is another VM, `destination` and
    `receive` are proxies of objects there."""

    source: Vm
    destination: Vm
    receive: Gcctl
    migrate: Gcctl
    report_path: Path
    proxy: Proxy | None = None

    def report(self) -> Report:
        return read_report(self.report_path)

    def wait_completed(self, spec: Spec, timeout: float = 60, source_is_left: bool = True) -> Report:
        """Both ends succeed, the counts of pages add up, and the VM runs at the destination."""
        status = self.migrate.wait(timeout)
        assert status == EXIT_DONE, f"gcctl migrate: {status}: {self.migrate.errors()}"
        assert self.receive.wait(10) == EXIT_DONE, self.receive.errors()
        report = self.report()
        assert report["result"] == "completed" and report["error"] == ""
        pages = report["pages"]
        assert sum(pages[name] for name in page_classes(report)) == pages["total"]
        assert pages["total"] >= spec.ram_mib * MIB // PAGE_SIZE
        assert 0 < report["downtime_ms"] <= report["total_ms"]
        if source_is_left:
            assert self.source.migration_status() == "completed"
            assert self.source.status() == "postmigrate"
        assert self.destination.migration_status() == "completed"
        assert self.destination.status() == "running"
        return report


class Testbed:
    """Starts processes and ends them. Its directory is on every QEMU's command line, the guides' too, by which
    processes() finds them."""

    __test__ = False  # not a test, for all that pytest knows from its name

    def __init__(self) -> None:
        # Short, since the path of a unix socket has at most 107 bytes; and not in build/, which is on 9p in the lab.
        self.directory = Path(tempfile.mkdtemp(prefix="gc-e2e-", dir="/tmp"))
        self.running: list[Vm | Gcctl] = []
        self._proxies: list[Proxy] = []
        self._runs = 0

    def new_directory(self, name: str) -> Path:
        self._runs += 1
        directory = self.directory / f"{name}-{self._runs}"
        directory.mkdir()
        return directory

    def start(self, spec: Spec, name: str = "source", incoming: bool = False) -> Vm:
        self._runs += 1
        kernel = self.directory / spec.kernel.name
        if not kernel.exists():
            kernel.symlink_to(spec.kernel)
        vm = Vm(self.directory, f"{name}-{self._runs}", spec, incoming, kernel)
        self.running.append(vm)
        return vm

    def start_source(self, spec: Spec, source_args: tuple[str, ...] = ()) -> Vm:
        """A source whose guest has filled its memory and runs."""
        source = self.start(spec.but(args=spec.args + source_args))
        source.wait_running(passes=1, timeout=40)
        return source

    def gcctl(self, command: str, *options: str, directory: Path | None = None, launcher: tuple[str, ...] = ()) -> Gcctl:
        """Starts a gcctl in a directory of its own, or in the given one."""
        process = Gcctl(directory or self.new_directory(command), command, *options, launcher=launcher)
        self.running.append(process)
        return process

    def receive(self, qmp: str, address: str, *options: str, launcher: tuple[str, ...] = ()) -> Gcctl:
        return self.gcctl("receive", "--qmp", qmp, "--listen", f"{address}:0", *in_clear(address), *options, launcher=launcher)

    def migrate_to(self, source: Vm, port: int, *options: str, launcher: tuple[str, ...] = ()) -> tuple[Gcctl, Path]:
        """Starts `gcctl migrate` over the loopback, without a guide or a policy. Returns its report's path, too."""
        directory = self.new_directory("migration")
        report = directory / "report.json"
        gcctl = self.gcctl("migrate", "--qmp", source.gcctl_qmp(), "--to", f"127.0.0.1:{port}", "--policy", "none",
                           "--guide", "off", "--report", str(report), *options, directory=directory, launcher=launcher)
        return gcctl, report

    def migrate(self, source: Vm, spec: Spec, *options: str, guide: str = "off", receive_options: tuple[str, ...] = (),
                proxy: dict[str, Any] | None = None, far: Far | None = None, switch_over_limit: float = 60,
                reconnect_limit: float = 30, launcher: tuple[str, ...] = ()) -> Migration:
        """Starts a destination and both gcctls: over the loopback, or with `receive` on the far host. `proxy`: the
        arguments of a Proxy between the two. `switch_over_limit` in seconds; by default a slow host is no failure.
        `reconnect_limit`, in seconds, is that of both. `launcher`: what starts `gcctl migrate`."""
        there: Testbed = far.testbed(self) if far else self
        address, far_launcher = (far.address, far.launcher) if far else ("127.0.0.1", ())
        destination = there.start(spec, "destination", incoming=True)
        reconnect = ("--reconnect-limit", f"{int(reconnect_limit * 1000)}ms")
        receive = there.receive(destination.gcctl_qmp(), address, *reconnect, *receive_options, launcher=far_launcher)
        port = receive.wait_event("listening")["port"]
        between = None
        if proxy is not None:
            between = Proxy(port, **proxy)
            self._proxies.append(between)
            port = between.port
        directory = self.new_directory("migration")
        report = directory / "report.json"
        if not far:
            options = ("--policy", "none", *options)  # the loopback has no NIC to shape
        migrate = self.gcctl("migrate", "--qmp", source.gcctl_qmp(), "--to", f"{address}:{port}", "--report", str(report),
                             "--guide", guide, "--switch-over-limit", f"{switch_over_limit}s", *reconnect, *in_clear(address),
                             *options,
                             directory=directory, launcher=launcher)
        return Migration(source, destination, receive, migrate, report, between)

    def migrate_completely(self, source: Vm, spec: Spec, *options: str, guide: str = "off") -> Report:
        migration = self.migrate(source, spec, *options, guide=guide)
        report = migration.wait_completed(spec)
        migration.destination.wait_running()
        source.check()
        return report

    # What gcctl must not leave behind.

    def processes(self) -> dict[int, str]:
        """The command lines of this test's QEMUs, guides, gcctls and their children."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if str(self.directory) in command:
                        found[int(entry.name)] = command
            except OSError:
                continue  # the process has ended
        return found

    def temporary_files(self) -> list[str]:
        return [str(path) for temp in self.directory.glob("*/tmp") for path in temp.iterdir()]

    def describe(self) -> str:
        """The state of all processes and the ends of all logs, for a failed test's report."""
        parts = [f"process {p.process.pid} ({p.name if isinstance(p, Vm) else p.command}): "
                 f"{'runs' if p.process.poll() is None else f'ended with {p.process.returncode}'}" for p in self.running]
        for path in sorted(self.directory.rglob("*")):
            if path.suffix in (".serial", ".stderr", ".out", ".err", ".json") and path.is_file() and path.stat().st_size:
                text = path.read_text(errors="replace")
                parts.append(f"---- {path.relative_to(self.directory)}\n{text[-1500:]}")
        return "\n".join(parts)

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.cut()
        for process in reversed(self.running):
            process.end()
        # A killed gcctl's guardian ends a moment later.
        wait_for("all processes of the test have ended", lambda: not self.processes(), 10 * SLOW)
        shutil.rmtree(self.directory, ignore_errors=True)
