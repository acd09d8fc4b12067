# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults: what is done to a migration at one moment, and what ends it again."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gclab.gcctl import Gcctl
from gclab.processes import children
from gclab.vm import Vm
from wire import Wire

CHANNELS = ("control", "main", "urgent", "bulk")
LOST = None  # a duration: until the run is judged


@dataclass
class Scene:
    """A migration that a fault happens to."""

    wire: Wire
    source: Vm
    destination: Vm
    receive: Gcctl
    migrate: Gcctl
    random: random.Random

    def processes(self) -> dict[str, "subprocess.Popen[bytes]"]:
        return {"source": self.source.process, "destination": self.destination.process, "receive": self.receive.process,
                "migrate": self.migrate.process}


class Missed(Exception):
    """What the fault was for does not exist: the run says nothing."""


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[Scene], None]
    begin: Callable[[Wire], None] = lambda wire: None  # before the migration starts
    small_disk: bool = False  # the report is written to a full disk


def signalled(name: str, number: signal.Signals) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        process = scene.processes()[name]
        if process.poll() is not None:
            raise Missed(f"{name} has ended")
        process.send_signal(number)

    return inject


def guide_signalled(number: signal.Signals) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        guides = [pid for pid in children(scene.migrate.process.pid) if is_qemu(pid)]
        if not guides:
            raise Missed("there is no guide")
        for pid in guides:
            os.kill(pid, number)

    return inject


def is_qemu(pid: int) -> bool:
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("qemu")
    except OSError:
        return False


def with_guardian(name: str) -> Callable[[Scene], None]:
    """As the kill of a cgroup does it: the guardian first, so that it cannot act."""
    def inject(scene: Scene) -> None:
        process = scene.processes()[name]
        if process.poll() is not None:
            raise Missed(f"{name} has ended")
        for pid in [*children(process.pid), process.pid]:
            os.kill(pid, signal.SIGKILL)

    return inject


def kill_both(scene: Scene) -> None:
    """In any order, and perhaps a moment apart."""
    names = ["migrate", "receive"]
    scene.random.shuffle(names)
    for name in names:
        if scene.processes()[name].poll() is None or name == names[0]:  # the second may end by the first one's death
            with_guardian(name)(scene)
        if scene.random.random() < 0.5:
            time.sleep(scene.random.uniform(0, 0.3))


def stopped(name: str) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        signalled(name, signal.SIGSTOP)(scene)
        time.sleep(scene.random.uniform(2, 6))
        process = scene.processes()[name]
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)

    return inject


def cut(seconds: float | None, times: int = 1) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        for _ in range(times):
            scene.wire.do("down")
            if seconds is LOST:
                return
            time.sleep(seconds)
            scene.wire.do("up")
            if times > 1:
                time.sleep(scene.random.uniform(0.1, 1))

    return inject


def reset(*channels: str) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        ports = scene.wire.connections(scene.migrate.process.pid)
        wanted = [CHANNELS.index(channel) for channel in channels]
        if not ports or max(wanted) >= len(ports):
            raise Missed(f"{len(ports)} connections exist")
        for index in wanted:
            scene.wire.reset(ports[index])

    return inject


def on_the_wire(what: str, ppm: int) -> Callable[[Scene], None]:
    return lambda scene: (scene.wire.do(f"{what} {ppm}"), None)[1]


def nothing(scene: Scene) -> None:
    pass


def _faults() -> Iterator[Fault]:
    yield Fault("none", nothing)
    for name in ("migrate", "receive", "destination", "source"):
        yield Fault(f"kill-{name}", signalled(name, signal.SIGKILL))
        yield Fault(f"stop-{name}", stopped(name))
    for name in ("migrate", "receive"):
        yield Fault(f"terminate-{name}", signalled(name, signal.SIGTERM))
        yield Fault(f"kill-{name}-and-guardian", with_guardian(name))
    yield Fault("kill-both-and-guardians", kill_both)
    yield Fault("kill-guide", guide_signalled(signal.SIGKILL))
    yield Fault("stop-guide", guide_signalled(signal.SIGSTOP))
    yield Fault("cut-0.5s", cut(0.5))
    yield Fault("cut-5s", cut(5))
    yield Fault("cut-1s-three-times", cut(1, times=3))
    yield Fault("cut-for-good", cut(LOST))
    for channel in CHANNELS:
        yield Fault(f"reset-{channel}", reset(channel))
    yield Fault("reset-all", reset(*CHANNELS))
    yield Fault("loss", on_the_wire("loss", 50000))
    yield Fault("reorder", on_the_wire("reorder", 50000))
    yield Fault("duplicate", on_the_wire("duplicate", 20000))
    yield Fault("corrupt", on_the_wire("corrupt", 10000))
    yield Fault("flip", on_the_wire("flip", 2000))
    yield Fault("disk-full", nothing, small_disk=True)


FAULTS = {fault.name: fault for fault in _faults()}


@contextmanager
def full_disk(directory: Path) -> Iterator[Path]:
    """A directory on a file system without room."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(directory)], check=True, timeout=20)
    try:
        (directory / "ballast").write_bytes(b"x" * 4096)
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True, timeout=20)
