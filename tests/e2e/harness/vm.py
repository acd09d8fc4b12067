# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU processes, and the self-checking guest (tests/guests/memory) as its serial console tells of it."""

import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .environment import ACCEL, SLOW
from .qmp import Qmp
from .sampler import Sampler, Samples
from .wait import wait_for

MIB = 1 << 20


# The kinds of memory that VMs are started with: -object, and what follows its id and size. Without: plain -m.
MEMORY = {
    "memfd": ("memfd", ",share=on"),
    "memfd-private": ("memfd", ",share=off"),
    "file": ("file", ",mem-path=/dev/shm,share=on"),
    "file-private": ("file", ",mem-path=/dev/shm,share=off"),
    "ram": ("ram", ""),
    "plain": None,
}
# Those that need reserved pages.
HUGE_MEMORY = {
    "hugetlb": ("memfd", ",hugetlb=on,hugetlbsize=2M,share=on"),
    "hugetlb-private": ("memfd", ",hugetlb=on,hugetlbsize=2M,share=off"),
}


@dataclass(frozen=True)
class Spec:
    """What source and destination must agree on, and where they may differ (`source_args`, `memory_type`)."""

    machine: str = "q35"
    cpus: int = 1
    ram_mib: int = 128
    backends: int = 1  # more than one: that many NUMA nodes
    append: str = "mode=check size=16M"
    args: tuple[str, ...] = ()
    memory_type: str = "memfd"  # of MEMORY or HUGE_MEMORY
    kernel: Path | None = None  # default: the memory guest
    initrd: Path | None = None
    nice: int = 0  # of the QEMU process
    enter: tuple[str, ...] = ()  # what starts it elsewhere, such as nsenter
    accel: str = ACCEL
    meter: bool = False  # a second serial port, where the guest tells how much it has done

    def but(self, **changes: object) -> "Spec":
        return replace(self, **changes)

    def memory_args(self) -> list[str]:
        kind = (MEMORY | HUGE_MEMORY)[self.memory_type]
        if kind is None:
            return []
        backend, properties = kind
        size = self.ram_mib // self.backends
        args: list[str] = []
        for n in range(self.backends):
            name = "m" if self.backends == 1 else f"m{n}"
            args += ["-object", f"memory-backend-{backend},id={name},size={size}M{properties}"]
            if self.backends > 1:
                args += ["-numa", f"node,nodeid={n},memdev={name}"]
        return args

    def command(self, kernel: Path) -> list[str]:
        machine = self.machine + (",memory-backend=m" if self.backends == 1 and self.memory_args() else "")
        cpu = ["-cpu", "host"] if self.accel == "kvm" else []
        initrd = ["-initrd", str(self.initrd)] if self.initrd else []
        nice = ["nice", "-n", str(self.nice)] if self.nice else []
        return [*self.enter, *nice, "qemu-system-x86_64", "-accel", self.accel, *cpu, "-machine", machine, "-smp", str(self.cpus),
                "-m", str(self.ram_mib), *self.memory_args(), "-nodefaults", "-no-user-config", "-no-reboot",
                "-display", "none", "-kernel", str(kernel), *initrd, "-append", self.append, *self.args]


@dataclass
class Progress:
    """What one vCPU of the memory guest last said: its passes so far, and its errors."""

    passes: int = 0
    errors: int = 0


@dataclass
class Vm:
    """A running QEMU with two QMP sockets: `qmp_path` for gcctl, `qmp` for the test."""

    name: str
    process: subprocess.Popen[bytes]
    qmp_path: Path
    qmp: Qmp
    serial_path: Path
    error_path: Path
    cpus: int
    meter_path: Path | None = None
    sampler: Sampler | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def serial(self) -> str:
        return self.serial_path.read_text(errors="replace") if self.serial_path.exists() else ""

    def progress(self) -> dict[int, Progress]:
        """Of each vCPU that has said something on this console."""
        seen: dict[int, Progress] = {}
        # The last line may be unfinished.
        for line in self.serial().split("\n")[:-1]:
            if match := re.search(r"(?:G|LAP) (\d+) cpu (\d+) errs (\d+)$", line.rstrip("\r")):
                passes, cpu, errors = map(int, match.groups())
                seen[cpu] = Progress(passes, errors)
        return seen

    def metered(self) -> int:
        """Characters that the guest has written to its second serial port."""
        return self.meter_path.stat().st_size if self.meter_path and self.meter_path.exists() else 0

    def sample(self) -> None:
        """Samples `metered` from now on."""
        self.sampler = Sampler(self.metered)
        self.sampler.start()

    def samples(self) -> Samples:
        """The sampling ends."""
        assert self.sampler
        return self.sampler.stop()

    def check(self) -> None:
        """No memory error so far, and no surprise."""
        text = self.serial()
        for bad in ("ERR ", "PANIC"):
            assert bad not in text, f"{self.name}'s guest: {text[text.index(bad):][:500]}"
        assert text.count("START") <= 1, f"{self.name}'s guest started anew"

    def check_alive(self) -> None:
        assert self.process.poll() is None, f"{self.name} ended: {self.errors()}"

    def wait_running(self, passes: int = 2, timeout: float = 20) -> None:
        """Until each vCPU has done that many passes more than it has said now, or says first, without errors."""
        first = {cpu: progress.passes for cpu, progress in self.progress().items()}

        def advanced() -> bool:
            self.check_alive()
            self.check()
            now = self.progress()
            for cpu, progress in now.items():
                first.setdefault(cpu, progress.passes)
            return len(now) == self.cpus and all(now[cpu].passes >= first[cpu] + passes for cpu in now)

        wait_for(f"{self.name}'s guest does {passes} passes on each of {self.cpus} vCPUs", advanced, timeout * SLOW)

    def make_vcpus_nice(self) -> None:
        """Lets all else go before the vCPUs, where one CPU plays both hosts: a guest that never rests takes the time that
        QEMU's migration needs, which elsewhere has a CPU of its own."""
        for cpu in self.qmp.command("query-cpus-fast"):
            os.setpriority(os.PRIO_PROCESS, cpu["thread-id"], 19)

    # What one asks for of a VM that may be on another host, where only methods can be reached.

    def gcctl_qmp(self) -> str:
        return str(self.qmp_path)

    def command(self, name: str, **arguments: Any) -> Any:
        return self.qmp.command(name, **arguments)

    def event_time(self, name: str) -> float | None:
        return self.qmp.event_time(name)

    def status(self) -> str:
        return self.command("query-status")["status"]

    def migration_status(self) -> str:
        return self.command("query-migrate").get("status", "none")

    def errors(self) -> str:
        return self.error_path.read_text(errors="replace")

    def wait_end(self, timeout: float = 10) -> None:
        self.process.wait(timeout * SLOW)

    def kill(self) -> None:
        if self.sampler:
            self.sampler.stop()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.qmp.close()


def start(directory: Path, name: str, spec: Spec, kernel: Path, incoming: bool) -> Vm:
    gcctl_qmp, test_qmp = directory / f"{name}.qmp", directory / f"{name}.test-qmp"
    serial, errors = directory / f"{name}.serial", directory / f"{name}.stderr"
    meter = directory / f"{name}.meter" if spec.meter else None
    command = spec.command(kernel) + ["-serial", f"file:{serial}"]
    if meter:
        command += ["-serial", f"file:{meter}"]
    for path in (gcctl_qmp, test_qmp):
        command += ["-qmp", f"unix:{path},server=on,wait=off"]
    if incoming:
        command += ["-incoming", "defer"]
    with errors.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        qmp = Qmp(test_qmp, 10 * SLOW)
    except Exception as error:
        process.kill()
        process.wait()
        raise AssertionError(f"{name} did not start: {errors.read_text()}\n{' '.join(command)}") from error
    return Vm(name, process, gcctl_qmp, qmp, serial, errors, spec.cpus, meter)
