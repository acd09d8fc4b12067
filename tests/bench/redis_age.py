#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What does it cost a VM that serves redis that gcctl record --mode age tracks it? To be run in the lab with guidecopy.ko
loaded, as root.

One VM, whose redis is kept busy by a client in the VM, is tracked in turn: not at all, by age at each of the intervals, and
not at all once more ("again"), which shows what two slices differ by that are the same. The order rotates from round to
round. What redis has done in a slice is its own count, asked for at both ends of it. A slice begins and ends with a scan, so that it has
its share of them; what the start of a track costs is not in it. "default" is the interval that gcctl takes by itself. Beside
the throughput stands what gcctl took of a CPU: where the host has one idle, the VM need not miss it.

Twice: with the VM's memory in small pages, each of which has an accessed bit, and in transparent huge ones.
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests" / "e2e"))

from harness.environment import DEMO  # noqa: E402
from harness.gcctl import EXIT_DONE, Gcctl  # noqa: E402
from harness.vm import MIB  # noqa: E402
from harness.wait import wait_for  # noqa: E402

import figures  # noqa: E402

RAM_MIB, KEYS = 256, 100_000
WARM_UP = 5  # seconds
VM_ADDRESS, HOST_ADDRESS, PORT = "10.0.0.2", "10.0.0.1", 6379
LINK = f"""
ip tuntap add tap-vm mode tap vnet_hdr
ip address add {HOST_ADDRESS}/24 dev tap-vm
ip link set tap-vm up
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MEMORY = {"4 KiB pages": f"memory-backend-memfd,id=pc.ram,size={RAM_MIB}M,share=on",
          "huge pages": f"memory-backend-ram,id=pc.ram,size={RAM_MIB}M"}


class Redis:
    """A connection to the server in the VM, to ask how much it has done."""

    def __init__(self) -> None:
        self.socket = socket.create_connection((VM_ADDRESS, PORT), timeout=60)
        self.replies = self.socket.makefile("rb")

    def done(self) -> int:
        self.socket.sendall(b"INFO stats\r\n")
        length = int(self.replies.readline().removeprefix(b"$"))
        text = self.replies.read(length + 2).decode()
        return int(text.split("total_commands_processed:")[1].split()[0])

    def close(self) -> None:
        self.replies.close()
        self.socket.close()


class Vm:
    """The demo's guest without its batch job, with a client of redis instead."""

    def __init__(self, directory: Path, memory: str):
        self.directory = directory
        self.qmp_path, self.console, self.errors = (directory / name for name in ("qmp", "console", "errors"))
        self.runs = 0
        command = [
            "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", str(RAM_MIB), "-object", memory,
            "-machine", "q35,memory-backend=pc.ram", "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", str(DEMO / "kernel"), "-initrd", str(DEMO / "initramfs"),
            "-append", f"console=ttyS0 quiet tsc=reliable demo.ip={VM_ADDRESS}/24 demo.batch=0 demo.load={KEYS}",
            "-netdev", "tap,id=net,ifname=tap-vm,script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=net,romfile=",
            "-serial", f"file:{self.console}", "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        with self.errors.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_loaded(self) -> None:
        wait_for("redis serves", self.serves, 120, 0.5)
        time.sleep(WARM_UP)

    def serves(self) -> bool:
        self.check()
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        assert "FAILED" not in text, text[-2000:]
        return "READY" in text

    def check(self) -> None:
        assert self.process.poll() is None, f"QEMU ended: {self.errors.read_text()}"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Slice:
    """What one slice was like."""

    requests_per_s: float
    tracker_cpu: float = 0  # percent of a CPU
    hot_mib: float = 0  # touched in an interval
    interval: float = 0  # seconds


def cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def measure(vm: Vm, redis: Redis, wait: Callable[[], object], tracker: int | None = None) -> Slice:
    """One slice, which lasts as long as `wait` does. `tracker`: the process that tracks the VM."""
    busy = lambda: cpu_seconds(tracker) if tracker else 0
    begin, busy_before, before = time.monotonic(), busy(), redis.done()
    wait()
    done, elapsed = redis.done() - before, time.monotonic() - begin
    vm.check()
    assert done > 100, f"redis did {done} requests in {elapsed:.1f} s: its client is gone"
    return Slice(done / elapsed, 100 * (busy() - busy_before) / elapsed)


def measure_tracked(vm: Vm, redis: Redis, seconds: float, interval: float | None) -> Slice:
    vm.runs += 1
    directory = vm.directory / f"record-{vm.runs}"
    directory.mkdir()
    options = ["--interval", f"{round(1000 * interval)}ms"] if interval else []
    record = Gcctl(directory, "record", "--qmp", str(vm.qmp_path), "--mode", "age", "--for", "600s", *options,
                   "-o", str(directory / "trace"))
    epochs = lambda: [event for event in record.events() if event["event"] == "epoch"]

    def wait_epoch() -> None:
        before = len(epochs())
        wait_for("an epoch ends", lambda: len(epochs()) > before, 300, 0.1)

    def wait_slice() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            wait_epoch()

    try:
        wait_epoch()
        measured = measure(vm, redis, wait_slice, record.process.pid)
        record.signal(signal.SIGINT)
        assert record.wait() == EXIT_DONE, record.errors()
    finally:
        record.kill()
    measured.hot_mib = epochs()[-2]["pages"] * 4096 / MIB
    measured.interval = epochs()[-2]["length_us"] / 1e6
    return measured


Modes = dict[str, Callable[[Vm, Redis], Slice]]


def modes(seconds: float, intervals: list[float]) -> Modes:
    def untracked(vm: Vm, redis: Redis) -> Slice:
        return measure(vm, redis, lambda: time.sleep(seconds))

    def tracked(interval: float | None) -> Callable[[Vm, Redis], Slice]:
        return lambda vm, redis: measure_tracked(vm, redis, seconds, interval)

    return {"untracked": untracked, **{f"age {interval:g} s": tracked(interval) for interval in intervals},
            "age default": tracked(None), "again": untracked}


def run(vm: Vm, workload: str, all_modes: Modes, rounds: int) -> dict[str, list[Slice]]:
    slices: dict[str, list[Slice]] = defaultdict(list)
    vm.wait_loaded()
    redis = Redis()
    try:
        for number in range(rounds):
            names = list(all_modes)
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                slices[name].append(all_modes[name](vm, redis))
                now = slices[name][-1]
                print(f"{workload}, round {number + 1}, {name}: {now.requests_per_s:.0f} requests/s", file=sys.stderr,
                      flush=True)
    finally:
        redis.close()
    return slices


def values(workload: str, slices: dict[str, list[Slice]]) -> figures.Values:
    found: figures.Values = {}
    for mode, measured in slices.items():
        found[workload, mode, "throughput"] = ("requests/s", [s.requests_per_s for s in measured])
        if mode == "untracked":
            continue
        # The two of one round had the most in common.
        shares = [s.requests_per_s / u.requests_per_s for s, u in zip(measured, slices["untracked"], strict=True)]
        found[workload, mode, "of_untracked"] = ("of one round", shares)
        if mode.startswith("age"):
            found[workload, mode, "tracker_cpu"] = ("% of a CPU", [s.tracker_cpu for s in measured])
            found[workload, mode, "hot_set"] = ("MiB", [s.hot_mib for s in measured])
            found[workload, mode, "interval"] = ("s", [s.interval for s in measured])
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the result as JSON")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--slice", type=float, default=2, metavar="SECONDS", help="at least (default: 2)")
    parser.add_argument("--intervals", type=float, nargs="+", default=[1], metavar="SECONDS", help="default: 1")
    parser.add_argument("--memory", choices=MEMORY, nargs="+", default=list(MEMORY))
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    assert "[never]" not in HUGE_PAGES.read_text(), f"{HUGE_PAGES} is never: no huge pages to measure with"
    for line in LINK.strip().splitlines():
        subprocess.run(line.split(), check=True, timeout=30)
    result: dict[str, Any] = {"bench": "redis", "reference": "untracked", "machine": figures.machine(), "rows": []}
    for workload in options.memory:
        with tempfile.TemporaryDirectory(prefix="gc-redis-", dir="/tmp") as directory:
            vm = Vm(Path(directory), MEMORY[workload])
            try:
                slices = run(vm, workload, modes(options.slice, options.intervals), options.rounds)
                result["rows"] += figures.rows(values(workload, slices), "untracked")
            finally:
                vm.end()
    for made in result["rows"]:
        ratio = "" if made["ratio"] is None else f"  ratio {made['ratio']:.3f}"
        print(f"{made['workload']:<12} {made['mode']:<10} {made['metric']:<14} {made['median']:10.3f} "
              f"[{made['min']:.3f}, {made['max']:.3f}] {made['unit']}{ratio}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
