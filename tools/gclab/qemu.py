# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: its command lines, its processes, and what the installed one can do. Nothing else in the project starts one.

The environment variable QEMU names another program than the installed one; QEMU_SRC and QEMU_DST name those of VMs that
leave and of VMs that arrive (see scripts/fetch-qemu).
"""

import functools
import json
import os
import shlex
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .qmp import Qmp

QEMU = os.environ.get("QEMU", "qemu-system-x86_64")
SOURCE_QEMU = os.environ.get("QEMU_SRC", QEMU)
DESTINATION_QEMU = os.environ.get("QEMU_DST", QEMU)
QUERY_TIMEOUT = 60  # seconds


def escaped(path: Path) -> str:
    """A path as a value in one of QEMU's option lists, where a comma ends a value."""
    return str(path).replace(",", ",,")


class Command:
    """A QEMU command line. Each method adds options and returns the command."""

    def __init__(self, machine: str, accel: str, memory: str, cpus: int = 1, cpu: str | None = None, binary: str = QEMU) -> None:
        """`memory` as -m has it; without `cpu`, the host's model with KVM and QEMU's default with TCG."""
        model = cpu or ("host" if accel == "kvm" else None)
        self.words = [binary, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", machine,
                      "-accel", accel, *(["-cpu", model] if model else []), "-smp", str(cpus), "-m", memory]

    def add(self, *words: str) -> "Command":
        self.words += words
        return self

    def kernel(self, image: Path, append: str, initrd: Path | None = None) -> "Command":
        return self.add("-kernel", str(image), *(["-initrd", str(initrd)] if initrd else []), "-append", append)

    def serial_to_file(self, path: Path) -> "Command":
        return self.add("-serial", f"file:{escaped(path)}")

    def monitor(self, path: Path) -> "Command":
        """A QMP socket."""
        return self.add("-qmp", f"unix:{escaped(path)},server=on,wait=off")

    def incoming(self) -> "Command":
        """The VM waits for a migration, which migrate-incoming begins."""
        return self.add("-incoming", "defer")

    def shared_directory(self, tag: str, path: Path, options: str) -> "Command":
        """A directory of this host as a 9p file system."""
        return self.add("-virtfs", f"local,path={escaped(path)},mount_tag={tag},security_model=none{options}")


def tap(interface: str, vhost: bool = False) -> tuple[str, ...]:
    """A NIC on a tap of this host, which QEMU or the kernel's vhost-net serves."""
    return ("-netdev", f"tap,id=net,ifname={interface},script=no,downscript=no{',vhost=on' if vhost else ''}",
            "-device", "virtio-net-pci,netdev=net,mac=52:54:00:67:63:01,romfile=")


def disk(image: Path) -> tuple[str, ...]:
    """A disk in a qcow2 file."""
    return ("-drive", f"if=none,id=disk,format=qcow2,file={escaped(image)}", "-device", "virtio-blk-pci,drive=disk")


class QemuProcess:
    """A QEMU that runs. What it prints goes to `error_path`.

    `launcher` is what starts it in another way, such as nsenter or nice. An interactive one has this process's
    terminal; `pass_fds` are the descriptors that its command line names.
    """

    def __init__(self, command: Command, error_path: Path, launcher: Sequence[str] = (), pass_fds: Collection[int] = (),
                 interactive: bool = False) -> None:
        self.error_path = error_path
        with error_path.open("wb") as errors:
            self.process = subprocess.Popen(
                [*launcher, *command.words], stdin=None if interactive else subprocess.DEVNULL,
                stdout=None if interactive else errors, stderr=errors, pass_fds=pass_fds)

    @property
    def pid(self) -> int:
        return self.process.pid

    def errors(self) -> str:
        return self.error_path.read_text(errors="replace")

    def ended(self) -> bool:
        return self.process.poll() is not None

    def check_alive(self) -> None:
        assert not self.ended(), f"QEMU ended with {self.process.returncode}: {self.errors().strip()}"

    def end(self) -> None:
        if not self.ended():
            self.process.kill()
        self.process.wait()


class Qemu(QemuProcess):
    """A QEMU with a QMP connection, at `monitor_path`. It answers when this returns."""

    def __init__(self, command: Command, error_path: Path, monitor_path: Path, timeout: float, launcher: Sequence[str] = ()) -> None:
        super().__init__(command.monitor(monitor_path), error_path, launcher)
        try:
            self.qmp = Qmp(monitor_path, timeout, self.check_alive)
        except (OSError, EOFError) as error:
            super().end()
            raise AssertionError(f"QEMU's monitor does not answer: {error}\n{self.errors()}\n{shlex.join(command.words)}") from error
        except BaseException:
            super().end()
            raise

    def command(self, name: str, **arguments: Any) -> Any:
        return self.qmp.command(name, **arguments)

    def set_capabilities(self, names: Collection[str]) -> None:
        """Of migration."""
        self.command("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in names])

    def status(self) -> str:
        return str(self.command("query-status")["status"])

    def migration_status(self) -> str:
        return str(self.command("query-migrate").get("status", "none"))

    def migration_settings(self) -> dict[str, int | bool]:
        """Those that gcctl changes for a migration."""
        parameters = self.command("query-migrate-parameters")
        settings = {name: parameters[name] for name in ("max-bandwidth", "max-postcopy-bandwidth", "downtime-limit")}
        return settings | {one["capability"]: one["state"] for one in self.command("query-migrate-capabilities")}

    def event_time(self, name: str) -> float | None:
        return self.qmp.event_time(name)

    def end(self) -> None:
        super().end()
        self.qmp.close()


@functools.cache
def version(program: str = QEMU) -> str:
    """Of the QEMU that is installed, or of another one."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=QUERY_TIMEOUT).stdout
    return said.splitlines()[0].removeprefix("QEMU emulator version ")


def release(program: str) -> tuple[int, int]:
    """Of a QEMU, such as (7, 2)."""
    major, minor = version(program).split(".")[:2]
    return int(major), int(minor)


def common_machine(machine: str) -> str:
    """A machine type that is the same in the QEMU that a VM leaves and in the one where it arrives: q35 and pc name the
    newest of each release. microvm has no versions."""
    releases = release(SOURCE_QEMU), release(DESTINATION_QEMU)
    if releases[0] == releases[1] or machine not in ("q35", "pc"):
        return machine
    major, minor = min(releases)
    return f"pc-{'q35' if machine == 'q35' else 'i440fx'}-{major}.{minor}"


def migration_capabilities() -> set[str]:
    """Of the QEMU that is installed."""
    requests = [{"execute": name} for name in ("qmp_capabilities", "query-migrate-capabilities", "quit")]
    command = Command("none", "tcg", "16M").add("-qmp", "stdio")
    said = subprocess.run(command.words, input="\n".join(map(json.dumps, requests)), capture_output=True, text=True,
                          check=True, timeout=QUERY_TIMEOUT).stdout
    answers = [json.loads(line).get("return") for line in said.splitlines()]
    return {one["capability"] for answer in answers if isinstance(answer, list) for one in answer}
