# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide has no effect outside itself: no packet, no disk block, no lock."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.bench import Bench
from harness.environment import ACCEL, DEMO, GUIDE_MODES, SLOW
from harness.vm import Spec, Vm
from harness.wait import wait_for

GUIDE = GUIDE_MODES[0]


def make_image(path: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"], check=True, timeout=20 * SLOW)
    return path


def disk(image: Path) -> tuple[str, ...]:
    return ("-drive", f"if=none,id=disk,format=qcow2,file={image}", "-device", "virtio-blk-pci,drive=disk")


def can_be_written_by_others(image: Path) -> bool:
    """Whether a new user of the image gets its write lock."""
    opened = subprocess.run(["qemu-io", "-f", "qcow2", "-c", "quit", str(image)], capture_output=True, text=True,
                            timeout=20 * SLOW, check=False)
    assert opened.returncode == 0 or "lock" in opened.stderr, opened.stderr
    return opened.returncode == 0


def digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def test_destination_takes_the_disk_over(bench: Bench) -> None:
    image = make_image(bench.directory / "disk.qcow2")
    spec = Spec(args=disk(image))
    source = bench.start_source(spec)
    assert not can_be_written_by_others(image)
    migration = bench.migrate(source, spec, "--hold-background", "900s", guide=GUIDE)
    # Handed over, and the guide still runs.
    migration.migrate.wait_event("resumed")
    migration.destination.wait_running()
    migration.migrate.signal(signal.SIGUSR1)
    migration.wait_completed(spec)
    assert not can_be_written_by_others(image)
    source.kill()
    assert not can_be_written_by_others(image)
    migration.destination.kill()
    assert can_be_written_by_others(image)


@contextmanager
def capture(path: Path, interface: str, pid: int | None = None) -> Iterator[None]:
    """tcpdump of what the interface's owner sends us, in the network namespace of process `pid` or in ours."""
    enter = ["nsenter", "-t", str(pid), "-n"] if pid else []
    log = path.with_suffix(".tcpdump")
    with log.open("wb") as errors:
        process = subprocess.Popen([*enter, "tcpdump", "-i", interface, "-Q", "in", "-U", "--immediate-mode", "-w", str(path)],
                                   stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        wait_for("tcpdump listens", lambda: "listening on" in log.read_text(), 10 * SLOW)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10 * SLOW)


def packets(path: Path) -> int:
    # Of a file that is being written, the last record may be half there; tcpdump then shows the rest and says so.
    shown = subprocess.run(["tcpdump", "-n", "-r", str(path)], capture_output=True, text=True, timeout=20 * SLOW, check=False)
    return len(shown.stdout.splitlines())


def guide_links(pid: int) -> list[dict]:
    shown = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-j", "link"], capture_output=True, timeout=10 * SLOW,
                           check=True)
    return json.loads(shown.stdout)


def linux_spec(image: Path, tap: str) -> Spec:
    network = ("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no",
               "-device", "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:67:63:01")
    return Spec(ram_mib=192, kernel=DEMO / "kernel", initrd=DEMO / "initramfs", args=disk(image) + network,
                append="console=ttyS0 quiet mitigations=off nokaslr demo.ip=10.9.0.2/24 demo.batch=16 demo.chatter=10.9.0.1")


def wait_heartbeat(vm: Vm, beats: int) -> None:
    """Until the Linux guest has reported that many disk heartbeats more."""
    def count() -> int:
        text = vm.serial()
        assert " ERR " not in text, text[-500:]
        return len(re.findall(r"^BEAT ", text, re.M))

    wanted = count() + beats
    wait_for(f"{vm.name} writes to its disk", lambda: count() >= wanted, 30 * SLOW, 0.2)


@pytest.mark.lab
def test_guide_is_harmless(bench: Bench) -> None:
    assert ACCEL == "kvm"
    source_image = make_image(bench.directory / "source.qcow2")
    spec = linux_spec(source_image, "gcsource")
    source = bench.start(spec)
    subprocess.run(["ip", "link", "set", "gcsource", "up"], check=True, timeout=10 * SLOW)
    wait_for("the guest is up", lambda: "READY" in source.serial(), 60 * SLOW, 0.5)
    wait_heartbeat(source, 2)

    # A copy for the destination, so that after switch-over nobody but a guide could write to the source's image.
    destination_image = bench.directory / "destination.qcow2"
    shutil.copy(source_image, destination_image)
    destination_spec = linux_spec(destination_image, "gcdest")
    migration = bench.migrate(source, destination_spec, "--hold-background", "900s", guide="on")
    guide = migration.migrate.wait_event("guide-started")["pid"]
    names = [link["ifname"] for link in guide_links(guide) if link["ifname"] != "lo"]
    assert len(names) == 1, f"the guide's namespace has {names}"

    from_guide, from_source = bench.directory / "guide.pcap", bench.directory / "source.pcap"
    with capture(from_guide, names[0], guide):
        migration.migrate.wait_event("guide-runs")
        before = digest(source_image)
        with capture(from_source, "gcsource"):
            # The guide goes through the same: heartbeats to its disk and on its network.
            wait_heartbeat(migration.destination, 5)
            wait_for("the guide sends packets, into its quarantine", lambda: packets(from_guide) > 0, 30 * SLOW, 0.5)
            assert "master" not in guide_links(guide)[-1], "the guide's link leads nowhere"
            assert can_be_written_by_others(source_image)
            assert digest(source_image) == before
    migration.migrate.signal(signal.SIGUSR1)
    sent = migration.wait_completed(destination_spec)["guide"]["sent"]
    wait_heartbeat(migration.destination, 2)
    assert packets(from_source) == 0
    # tcpdump began before the guide ran, and sees a packet before tc does.
    assert sent["dropped_by"] == "ebpf"
    assert 0 < packets(from_guide) <= sent["packets"] == sum(sent[kind] for kind in ("arp", "ipv4", "ipv6", "other"))
    assert digest(source_image) == before
    assert can_be_written_by_others(source_image)

