# SPDX-License-Identifier: GPL-2.0-or-later
"""The VMs that are migrated, and the self-checking guest (tests/guests/memory) as its console shows it."""

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .environment import ACCEL, GUEST, IN_LAB, SLOW
from .gcctl import run
from .qemu import DESTINATION_QEMU, SOURCE_QEMU, Command, Qemu, common_machine
from .sampler import Sampler, Samples
from .wait import wait_for

MIB = 1 << 20
PAGE_SIZE = 4096
# What the guest rewrites, unless a test says more. In the lab, a page that the VM has to wait for takes some 10 ms.
WORK_MIB = 4 if IN_LAB else 16

# Memory back ends: the type of -object, and its properties after id and size. None: plain -m.
MEMORY: dict[str, tuple[str, str] | None] = {
    "memfd": ("memfd", ",share=on"),
    "memfd-private": ("memfd", ",share=off"),
    "file": ("file", ",mem-path=/dev/shm,share=on"),
    "file-private": ("file", ",mem-path=/dev/shm,share=off"),
    "ram": ("ram", ""),
    "plain": None,
}
# Those that need reserved huge pages.
HUGE_MEMORY: dict[str, tuple[str, str] | None] = {
    "hugetlb": ("memfd", ",hugetlb=on,hugetlbsize=2M,share=on"),
    "hugetlb-private": ("memfd", ",hugetlb=on,hugetlbsize=2M,share=off"),
}


@dataclass(frozen=True)
class Spec:
    """How a VM is started. Source and destination must agree on all of it but `memory_type`, `nice` and `launcher`."""

    machine: str = "q35"
    cpus: int = 1
    ram_mib: int = 128
    backends: int = 1  # if more than one: that many NUMA nodes
    append: str = f"mode=check size={WORK_MIB}M"
    args: tuple[str, ...] = ()
    memory_type: str = "memfd"  # a key of MEMORY or HUGE_MEMORY
    kernel: Path = GUEST
    initrd: Path | None = None
    nice: int = 0  # of the QEMU process
    launcher: tuple[str, ...] = ()  # what starts it in another way, such as nsenter
    accel: str = ACCEL
    meter: bool = False  # a second serial port, to which the guest writes as it makes progress

    def but(self, **changes: Any) -> "Spec":
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

    def command(self, kernel: Path | None = None, binary: str = SOURCE_QEMU) -> Command:
        """`kernel` instead of the spec's own."""
        memory = self.memory_args()
        machine = common_machine(self.machine) + (",memory-backend=m" if self.backends == 1 and memory else "")
        command = Command(machine, self.accel, str(self.ram_mib), self.cpus, binary=binary).add(*memory)
        return command.kernel(kernel or self.kernel, self.append, self.initrd).add(*self.args)


@dataclass
class Progress:
    """The last report of one vCPU of the memory guest."""

    passes: int = 0
    errors: int = 0


class MemoryGuest:
    """A VM with the self-checking guest, by its console."""

    name: str
    cpus: int
    _serial: Path

    def check_alive(self) -> None:
        """Fails if the VM has ended."""
        raise NotImplementedError

    def serial(self) -> str:
        """The console's text so far."""
        return self._serial.read_text(errors="replace") if self._serial.exists() else ""

    def progress(self) -> dict[int, Progress]:
        """Of each vCPU that has reported on the console."""
        seen: dict[int, Progress] = {}
        # The last line may be incomplete.
        for line in self.serial().split("\n")[:-1]:
            if match := re.search(r"(?:G|LAP) (\d+) cpu (\d+) errs (\d+)$", line.rstrip("\r")):
                passes, cpu, errors = map(int, match.groups())
                seen[cpu] = Progress(passes, errors)
        return seen

    def check(self) -> None:
        """The guest has found no memory error, and has not restarted."""
        text = self.serial()
        for bad in ("ERR ", "PANIC"):
            assert bad not in text, f"{self.name}'s guest: {text[text.index(bad):][:500]}"
        assert text.count("START") <= 1, f"{self.name}'s guest restarted"

    def wait_running(self, passes: int = 2, timeout: float = 20) -> None:
        """Until each vCPU has done that many passes more than now (or than in its first report), without errors."""
        first = {cpu: progress.passes for cpu, progress in self.progress().items()}

        def advanced() -> bool:
            self.check_alive()
            self.check()
            now = self.progress()
            for cpu, progress in now.items():
                first.setdefault(cpu, progress.passes)
            return len(now) == self.cpus and all(now[cpu].passes >= first[cpu] + passes for cpu in now)

        wait_for(f"{self.name}'s guest does {passes} passes on each of {self.cpus} vCPUs", advanced, timeout * SLOW)


class Vm(Qemu, MemoryGuest):
    """A running VM with two QMP sockets: gcctl_qmp() for gcctl, and its own connection.

    Its files are `directory`/`name`.*. It may be on another host, where only methods can be reached (second_host.py).
    """

    def __init__(self, directory: Path, name: str, spec: Spec, incoming: bool = False, kernel: Path | None = None) -> None:
        self.name = name
        self.cpus = spec.cpus
        self._gcctl_qmp = directory / f"{name}.qmp"
        self._serial = directory / f"{name}.serial"
        self._meter = directory / f"{name}.meter" if spec.meter else None
        self._sampler: Sampler | None = None
        binary = DESTINATION_QEMU if incoming else SOURCE_QEMU
        command = spec.command(kernel, binary).serial_to_file(self._serial)
        if self._meter:
            command.serial_to_file(self._meter)
        command.monitor(self._gcctl_qmp)
        if incoming:
            command.incoming()
        launcher = [*spec.launcher, *(["nice", "-n", str(spec.nice)] if spec.nice else [])]
        super().__init__(command, directory / f"{name}.stderr", directory / f"{name}.test-qmp", 10 * SLOW, launcher)
        self._settings_at_start = self.migration_settings()

    def has_settings_of_start(self) -> bool:
        """Whether a migration has left no trace in its capabilities and parameters."""
        return self.migration_settings() == self._settings_at_start

    def gcctl_qmp(self) -> str:
        return str(self._gcctl_qmp)

    def metered(self) -> int:
        """Characters that the guest has written to its second serial port."""
        return self._meter.stat().st_size if self._meter and self._meter.exists() else 0

    def sample(self) -> None:
        """Begins to sample metered()."""
        self._sampler = Sampler(self.metered)
        self._sampler.start()

    def samples(self) -> Samples:
        """Ends the sampling."""
        assert self._sampler
        return self._sampler.stop()

    def wait_console(self, text: str, timeout: float) -> None:
        """Until a Linux guest (scripts/demo-guest-init) has printed that."""
        def printed() -> bool:
            self.check_alive()
            console = self.serial()
            assert "FAILED" not in console, console[-2000:]
            return text in console

        wait_for(f"{self.name}'s guest prints {text!r}", printed, timeout, 0.2)

    def make_vcpus_nice(self) -> None:
        """Gives everything else priority over the vCPUs. Where one CPU plays both hosts, a guest that never rests takes
        the time that QEMU's migration needs, which on real hosts has a CPU of its own."""
        for cpu in self.command("query-cpus-fast"):
            os.setpriority(os.PRIO_PROCESS, cpu["thread-id"], 19)

    def wait_end(self, timeout: float = 10) -> None:
        self.process.wait(timeout * SLOW)

    def end(self) -> None:
        if self._sampler:
            self._sampler.stop()
        super().end()


def best_accelerator() -> str:
    """KVM if it runs a guest at the speed of hardware, else TCG: /dev/kvm may be there and emulate each instruction."""
    if IN_LAB:
        return ACCEL
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    return "kvm" if any(check["name"] == "kvm" and check["verdict"] == "ok" for check in checks) else "tcg"
