# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a command runs as root in a throw-away VM over a read-only view of this host. scripts/lab --help has the details."""

import os
import re
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from . import initramfs, kernel_log
from .environment import BUILD, PRESET, PYTHON, TOOLS, TREE
from .kernel import Kernel, KernelError
from .qemu import QEMU, Command, QemuProcess
from .wait import Deadline

CACHE = BUILD / "lab"
AGENT = ["env", f"PYTHONPATH={TOOLS}", PYTHON, "-m", "gclab.agent"]
# The cables between two hosts. Each is a NIC of this name at either end.
CABLES = ("control0", "link0", "vms0")
# Directories of the host in whose place the lab has empty ones.
HIDDEN = (Path("/tmp"), Path("/run"), Path("/dev/shm"))
# Loaded for the command, beside KVM: the lab's kernel loads no module by itself.
MODULES = ["tun", "veth", "bridge", "virtio_net", "sch_netem", "sch_fq", "sch_tbf", "sch_ingress", "cls_bpf", "loop"]

EXIT_KERNEL_LOG, EXIT_TIMEOUT, EXIT_LAB = 70, 124, 125
MAX_BOOTS = 3  # see Lab._lost_in_boot()
PROBE_TIMEOUT = 20  # seconds for a VM on this host's KVM, see kvm_works()
SHUTDOWN_TIMEOUT = 20  # seconds from the end of the command's output to the VM's end


class LabError(Exception):
    """The lab could not do its part; the text says what to do."""


def _require(condition: object, message: str) -> None:
    if not condition:
        raise LabError(message)


@dataclass(frozen=True)
class Options:
    """As the options of scripts/lab of the same names."""

    command: list[str] = field(default_factory=list)
    shell: bool = False  # interactive, instead of the command
    kernel: str | None = None
    kernel_dir: Path | None = None
    hosts: int = 1
    smp: int | None = None
    mem: str = "4G"
    share: list[Path] = field(default_factory=list)
    append: str = ""
    timeout: float = 600  # seconds
    log: Path | None = None
    module: list[Path] = field(default_factory=list)
    no_nested: bool = False
    accel: str = "auto"

    def kernel_to_boot(self) -> Kernel:
        return Kernel.built_in(self.kernel_dir) if self.kernel_dir else Kernel.installed(self.kernel)


class Lab:
    """One VM's life: boot, command, kernel log. With `cables`, an end of each of CABLES, it is host `number` of two."""

    def __init__(self, options: Options, kvm: bool, number: int = 1, cables: tuple[socket.socket, ...] = (),
                 output: BinaryIO = sys.stdout.buffer) -> None:
        self.options = options
        self.kvm = kvm
        self.number = number
        self.cables = cables
        self.output = output
        self.ended_from_outside = False
        self.kernel = options.kernel_to_boot()
        self.image = initramfs.make(self.kernel, CACHE)
        self.log = options.log or CACHE / f"console-{os.getpid()}.log"
        self.dmesg = Path(f"{self.log}.dmesg")
        self._qemu: QemuProcess | None = None

    def run(self) -> int:
        """Returns the command's exit status, or EXIT_KERNEL_LOG."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as temp:
            run_directory = Path(temp)
            self._write_job(run_directory)
            timed_out = self._boot_until_begun(run_directory)
            status_file = run_directory / "status"
            status = status_file.read_text().strip() if status_file.exists() else ""
        console = self.log.read_text(errors="replace") if self.log.exists() else ""
        if not self.kvm:
            _keep_tsc_frequency(console)
        if self._kernel_complains(console):
            return EXIT_KERNEL_LOG
        if self.ended_from_outside:
            return 0
        if timed_out:
            raise TimeoutError(f"the command did not end within {self.options.timeout:g} s (console: {self.log})")
        if not status:
            tail = "\n".join(console.splitlines()[-15:])
            raise LabError(f"the VM ended without the command's status; its console ({self.log}) ends with:\n{tail}")
        return int(status)

    def end(self) -> None:
        """For another thread: run() then returns soon, with 0 unless the kernel log shows trouble."""
        self.ended_from_outside = True
        if self._qemu:
            self._qemu.process.kill()

    def remove_logs(self) -> None:
        self.log.unlink(missing_ok=True)
        self.dmesg.unlink(missing_ok=True)

    # The job: what lab-init finds in /run/lab.

    def _write_job(self, run_directory: Path) -> None:
        (run_directory / "job").write_text("".join(f"{line}\n" for line in self._job()))
        (run_directory / "shares").write_text("".join(f"{share}\n" for share in self.shares()))
        (run_directory / "shown").write_text("".join(f"{shown}\n" for shown in self.shown()))
        if self.kernel.root != Path("/"):
            (run_directory / "modules_dir").write_text(f"{self.kernel.root}/lib/modules/{self.kernel.release}\n")
        (run_directory / "modules").write_text("".join(f"{module}\n" for module in MODULES))
        if self.options.shell:
            (run_directory / "interactive").touch()

    def _job(self) -> list[str]:
        lines = [f"cd {shlex.quote(os.getcwd())} || exit {EXIT_LAB}", "ulimit -c 0"]
        lines.append(f"export GC_PRESET={shlex.quote(PRESET)}")
        if not self.kvm:
            # An emulated CPU takes about ten times as long for a page fault as hardware. With ten times the module's
            # default delay the consumer gets as many records per wake-up as on hardware.
            lines.append("export GC_MODULE_PARAMETERS=notify_delay_us=2000")
        lines += self._cable_lines()
        lines += [f"insmod {shlex.quote(str(module.resolve()))} $GC_MODULE_PARAMETERS || exit {EXIT_LAB}"
                  for module in self.options.module]
        # Not exec: the last line's exit status is the shell's, also when a signal ends the command (128 + n).
        lines.append(shlex.join(["bash", "-i"] if self.options.shell else self.options.command))
        return lines

    def _mac(self, cable: str) -> str:
        return f"52:54:00:67:{CABLES.index(cable):02x}:{self.number:02x}"

    def _cable_lines(self) -> list[str]:
        """Names the NICs, and tells the command that there are two hosts."""
        if not self.cables:
            return []
        lines = [f"ip link set \"$(ip -br link | awk '/{self._mac(cable)}/ {{ print $1 }}')\" name {cable} || exit {EXIT_LAB}"
                 for cable in CABLES]
        return [*lines, f"ip address add 10.88.0.{self.number}/24 dev control0", "ip link set control0 up",
                "export GC_LAB_HOSTS=2"]

    def shares(self) -> list[Path]:
        """Directories that are written through, outer ones first: a mount hides what is below it."""
        shares = {BUILD, *(share.resolve() for share in self.options.share)}
        for share in shares:
            _require(share.is_dir(), f"cannot share {share}: not a directory")
        return sorted(shares)

    def shown(self) -> list[Path]:
        """Directories that the job needs and that lie in a hidden one: lab-init shows them all the same. Changes to
        them are lost, as elsewhere outside the shares."""
        needed = {TREE, Path.cwd(), self.kernel.root, *(module.resolve().parent for module in self.options.module)}
        hidden = {path for path in needed if any(above in HIDDEN for above in path.parents)}
        return sorted(path for path in hidden if not any(path == other or other in path.parents for other in self.shares())
                      and not any(other in path.parents for other in hidden))

    # The VM.

    def _cpus(self) -> int:
        # TCG's SVM changes the interrupt_request of its vCPU unlocked (do_vmexit(), QEMU 7.2's target/i386/tcg/sysemu/
        # svm_helper.c). With two vCPUs and two busy nested guests, one of those or the lab's kernel dies within a
        # minute. With one vCPU an interrupt is lost now and then, see _beat(). One thread for all vCPUs
        # (thread=single) is no alternative: nested Linux does not boot there.
        return self.options.smp or (2 if self.kvm or self.options.no_nested else 1)

    def _command(self, run_directory: Path, output_fd: int | None, heart_fd: int) -> Command:
        # Every message goes to the console, which is the kernel log that survives a panic.
        append = f"console=ttyS0 ignore_loglevel panic=-1 mitigations=off nokaslr {self.options.append}"
        if not self.kvm:
            append += " tsc=reliable" + _tsc_parameter()  # all vCPUs have one clock; any other source is much slower
        accel, cpu = ("kvm", "host") if self.kvm else ("tcg,thread=multi", "EPYC,+svm,+npt")
        command = Command("q35", accel, self.options.mem, self._cpus(), cpu)
        command.add("-name", "guidecopy-lab").kernel(self.kernel.image, append, self.image).serial_to_file(self.log)
        command.add("-device", "virtio-serial-pci")
        if output_fd is None:
            command.add("-chardev", "stdio,id=tty,signal=off", "-device", "virtconsole,chardev=tty")
        else:
            command.add("-chardev", f"socket,id=output,fd={output_fd}", "-device", "virtserialport,chardev=output,name=lab.output")
        command.add("-chardev", f"socket,id=heart,fd={heart_fd}", "-device", "virtserialport,chardev=heart,name=lab.heart")
        for cable, end in zip(CABLES, self.cables):
            command.add("-netdev", f"dgram,id={cable},local.type=fd,local.str={end.fileno()}",
                        "-device", f"virtio-net-pci,netdev={cable},mac={self._mac(cable)},romfile=")
        command.shared_directory("host", Path("/"), ",readonly=on,multidevs=remap").shared_directory("run", run_directory, "")
        for number, share in enumerate(self.shares()):
            command.shared_directory(f"share{number}", share, ",multidevs=remap")
        return command

    def _boot_until_begun(self, run_directory: Path) -> bool:
        """Boots once more if the kernel was lost before the command began. True if the time ran out."""
        for attempt in range(1, MAX_BOOTS + 1):
            timed_out = self._boot(run_directory)
            if attempt == MAX_BOOTS or self.ended_from_outside or not self._lost_in_boot(run_directory):
                break
            kept = self.log.rename(f"{self.log}.boot{attempt}")
            print(f"lab: the emulated kernel panicked before the command began (console: {kept}); booting again", file=sys.stderr)
        return timed_out

    def _lost_in_boot(self, run_directory: Path) -> bool:
        """Whether TCG lost the kernel before anything of ours ran in it.

        QEMU 7.2's tb_gen_code() (accel/tcg/translate-all.c) reads a guest's code before it locks its page. What
        another vCPU patches in between, as the kernel does with its static keys during the whole boot, may stay in
        the translation. A breakpoint that existed for a moment is then "Oops: int3".
        """
        return not self.kvm and not (run_directory / "began").exists() and "Kernel panic" in self.log.read_text(errors="replace")

    def _boot(self, run_directory: Path) -> bool:
        """Runs the VM to its end and copies the command's output; True if the time ran out."""
        ours, theirs = socket.socketpair()
        heart, their_heart = socket.socketpair()
        interactive = self.options.shell
        command = self._command(run_directory, None if interactive else theirs.fileno(), their_heart.fileno())
        # Whatever happens to this process, its QEMU does not outlive it.
        qemu = QemuProcess(command, Path(f"{self.log}.qemu"), ["setpriv", "--pdeathsig", "KILL", "--"],
                           [end.fileno() for end in (theirs, their_heart, *self.cables)], interactive)
        self._qemu = qemu
        try:
            if self.ended_from_outside:
                qemu.process.kill()
            theirs.close()
            their_heart.close()
            threading.Thread(target=_beat, args=[heart], daemon=True).start()
            timed_out = self._wait_end(qemu, ours)
        finally:
            qemu.end()
            ours.close()
            heart.close()
        _require(qemu.process.returncode in (0, -signal.SIGKILL), f"QEMU failed: {qemu.errors().strip()}")
        qemu.error_path.unlink()
        return timed_out

    def _wait_end(self, qemu: QemuProcess, output: socket.socket) -> bool:
        if self.options.shell:
            qemu.process.wait()
            return False
        deadline = Deadline(self.options.timeout)
        if self._copy_output(output, deadline):
            return True
        return not _ends_within(qemu, max(1.0, min(SHUTDOWN_TIMEOUT, deadline.left())))

    def _copy_output(self, source: socket.socket, deadline: Deadline) -> bool:
        """Copies until QEMU closes its end; True if `deadline` came first."""
        while not deadline.passed():
            source.settimeout(max(deadline.left(), 0.001))
            try:
                data = source.recv(65536)
            except TimeoutError:
                return True
            except ConnectionResetError:
                return False
            if not data:
                return False
            self.output.write(data)
            self.output.flush()
        return True

    def _kernel_complains(self, console: str) -> bool:
        """Saves the kernel's own lines beside the console log; True, and a report on stderr, if they show trouble."""
        stamped = re.compile(r"^\[ *\d+\.\d+\]")
        lines = [line for line in console.splitlines() if stamped.match(line)]
        self.dmesg.write_text("".join(f"{line}\n" for line in lines))
        hits = kernel_log.trouble(lines)
        if not hits:
            return False
        print(f"lab: the kernel log has {len(hits)} suspicious line(s) ({self.dmesg}):", file=sys.stderr)
        shown = sorted({i for hit in hits[:5] for i in range(max(0, hit - 2), min(len(lines), hit + 25))})
        print(*(f"  {lines[i]}" for i in shown), sep="\n", file=sys.stderr)
        return True


def _boot_id() -> str:
    """Of this host: what is cached by it holds until the host reboots."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _tsc_parameter() -> str:
    """The frequency of the TSC, as a kernel parameter, if an earlier lab has found it.

    TCG's TSC is the host's. On a busy host the kernel's fast calibration may be off by a factor of ten, and then all its
    time is. Its second calibration, over a second, replaces the first one only if they differ by at most 1 %
    (tsc_refine_calibration_work() in arch/x86/kernel/tsc.c), so a frequency that passed it is right.
    """
    cache = CACHE / f"tsc-{_boot_id()}"
    return f" tsc_early_khz={cache.read_text().strip()}" if cache.exists() else ""


def _keep_tsc_frequency(console: str) -> None:
    cache = CACHE / f"tsc-{_boot_id()}"
    refined = re.search(r"tsc: Refined TSC clocksource calibration: (\d+)\.(\d{3}) MHz", console)
    if refined and not cache.exists():
        cache.write_text(f"{refined[1]}{refined[2]}\n")


def _ends_within(qemu: QemuProcess, seconds: float) -> bool:
    deadline = Deadline(seconds)
    while not qemu.ended() and not deadline.passed():
        time.sleep(0.02)
    return qemu.ended()


def _beat(heart: socket.socket) -> None:
    """Sends the VM an interrupt each second: a CPU that missed its timer's interrupt wakes up."""
    try:
        while True:
            time.sleep(1)
            heart.send(b"\n")
    except OSError:
        return  # the VM has ended


class SecondHost(threading.Thread):
    """The VM beside `first`. It runs gclab.agent as long as that one runs."""

    def __init__(self, first: Lab, cables: tuple[socket.socket, ...]) -> None:
        super().__init__()
        # The first host's time limit applies to both.
        options = replace(first.options, command=AGENT, shell=False, log=Path(f"{first.log}.second"), timeout=1e6)
        self.first = first
        self.lab = Lab(options, first.kvm, 2, cables, sys.stderr.buffer)
        self.status: int | None = None
        self.error = ""

    def run(self) -> None:
        try:
            self.status = self.lab.run()
            if not self.lab.ended_from_outside:
                self.error = f"the second host's agent ended with status {self.status} before the first host did"
        except (LabError, TimeoutError, OSError) as error:
            self.error = f"the second host: {error}"
        if self.error:
            self.first.end()

    def end(self) -> None:
        self.lab.end()
        self.join()


def _run_two(first: Lab, second: SecondHost) -> int:
    second.start()
    try:
        status = first.run()
    finally:
        second.end()
    _require(not second.error or EXIT_KERNEL_LOG in (status, second.status), second.error)
    return EXIT_KERNEL_LOG if second.status == EXIT_KERNEL_LOG else status


def run(options: Options, kvm: bool) -> int:
    """Removes the logs if all went well and they were not asked for."""
    if options.hosts == 1:
        lab = Lab(options, kvm)
        labs, status = [lab], lab.run()
    else:
        # Datagrams: a QEMU that boots again never finds half a packet. Our copies of the ends stay open for that, too.
        ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in CABLES]
        lab = Lab(options, kvm, 1, tuple(here for here, _ in ends))
        second = SecondHost(lab, tuple(there for _, there in ends))
        labs, status = [lab, second.lab], _run_two(lab, second)
    if status == 0 and not options.log:
        for one in labs:
            one.remove_logs()
    return status


def kvm_works(options: Options) -> bool:
    """Whether this host's KVM boots a stock kernel that in turn has KVM. That /dev/kvm exists proves neither."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    cache = CACHE / f"kvm-{_boot_id()}"
    if not cache.exists():
        log = CACHE / f"probe-{os.getpid()}.log"
        probe = Options(["test", "-c", "/dev/kvm"], kernel=options.kernel, smp=1, mem="512M", timeout=PROBE_TIMEOUT, log=log)
        try:
            works = Lab(probe, kvm=True).run() == 0
        except (LabError, TimeoutError):
            works = False
        for leftover in CACHE.glob(f"{log.name}*"):
            leftover.unlink()
        cache.write_text("yes\n" if works else "no\n")
    return cache.read_text() == "yes\n"


def _interrupted(number: int, _frame: object) -> None:
    sys.exit(128 + number)  # an exception, so that QEMU ends, too


def main(options: Options) -> int:
    """Runs the lab; returns the exit status of scripts/lab."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        _require(shutil.which(QEMU), f"no {QEMU}; run scripts/deps")
        CACHE.mkdir(parents=True, exist_ok=True)
        return run(options, options.accel == "kvm" or (options.accel == "auto" and kvm_works(options)))
    except TimeoutError as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_TIMEOUT
    except (LabError, KernelError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_LAB
