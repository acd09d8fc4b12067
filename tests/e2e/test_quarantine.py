# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide has no effect outside itself: no packet, no disk block, no lock."""

import hashlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gclab import demo_guest
from gclab.environment import GUIDE_MODES, SLOW
from gclab.network import HERE, links_of
from gclab.qemu import disk, tap
from gclab.testbed import Testbed
from gclab.vm import Spec, Vm
from gclab.wait import wait_for

GUIDE = GUIDE_MODES[0]


def make_image(path: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"], check=True, timeout=20 * SLOW)
    return path


def can_be_written_by_others(image: Path) -> bool:
    """Whether another process gets the image's write lock."""
    opened = subprocess.run(["qemu-io", "-f", "qcow2", "-c", "quit", str(image)], capture_output=True, text=True,
                            timeout=20 * SLOW, check=False)
    assert opened.returncode == 0 or "lock" in opened.stderr, opened.stderr
    return opened.returncode == 0


def digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def test_destination_takes_the_disk_over(testbed: Testbed) -> None:
    image = make_image(testbed.directory / "disk.qcow2")
    spec = Spec(args=disk(image))
    source = testbed.start_source(spec)
    assert not can_be_written_by_others(image)
    migration = testbed.migrate(source, spec, "--hold-background", "900s", guide=GUIDE)
    # The destination owns the disk while the guide still runs.
    migration.migrate.wait_event("resumed")
    migration.destination.wait_running()
    migration.migrate.signal(signal.SIGUSR1)
    migration.wait_completed(spec)
    assert not can_be_written_by_others(image)
    source.end()
    assert not can_be_written_by_others(image)
    migration.destination.end()
    assert can_be_written_by_others(image)


@contextmanager
def capture(path: Path, interface: str, pid: int | None = None) -> Iterator[None]:
    """Runs tcpdump on what the interface receives, in the network namespace of process `pid` or in ours."""
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
    # The last record of a file that is still written may be incomplete: tcpdump fails after showing the others.
    shown = subprocess.run(["tcpdump", "-n", "-r", str(path)], capture_output=True, text=True, timeout=20 * SLOW, check=False)
    return len(shown.stdout.splitlines())


def linux_spec(image: Path, interface: str) -> Spec:
    return demo_guest.spec("ip=10.9.0.2/24", "batch=16", "chatter=10.9.0.1", ram_mib=192, args=disk(image) + tap(interface))


def wait_heartbeat(vm: Vm, beats: int) -> None:
    """Until the Linux guest has reported that many more writes to its disk."""
    def count() -> int:
        text = vm.serial()
        assert " ERR " not in text, text[-500:]
        return len(re.findall(r"^BEAT ", text, re.M))

    wanted = count() + beats
    wait_for(f"{vm.name} writes to its disk", lambda: count() >= wanted, 30 * SLOW, 0.2)


def test_guide_announces_itself_to_nobody(testbed: Testbed) -> None:
    """QEMU sends frames with the VM's address when it has loaded a state, the guide's too."""
    source_spec, spec = (Spec(args=tap(f"gc{end}{testbed.directory.name[-4:]}")) for end in ("s", "d"))
    migration = testbed.migrate(testbed.start_source(source_spec), spec, "--hold-background", "900s", guide="on")
    guide = migration.migrate.wait_event("guide-started")["pid"]
    links = [link for link in links_of(guide) if link["ifname"] != "lo"]
    assert len(links) == 1 and "master" not in links[0], links
    migration.migrate.wait_event("guide-runs")
    migration.destination.wait_running()
    migration.migrate.signal(signal.SIGUSR1)
    sent = migration.wait_completed(spec)["guide"]["sent"]
    assert sent["packets"] > 0 and sent["bytes"] > 0, sent
    assert sent["dropped_by"] in ("ebpf", "namespace"), sent


def test_guide_is_harmless(testbed: Testbed) -> None:
    source_image = make_image(testbed.directory / "source.qcow2")
    source = testbed.start(linux_spec(source_image, "gcsource"))
    HERE.ip("link", "set", "gcsource", "up")
    source.wait_console(demo_guest.READY, 60 * SLOW)
    wait_heartbeat(source, 2)

    # The destination has a copy, so that after switch-over only a guide could write to the source's image.
    destination_image = testbed.directory / "destination.qcow2"
    shutil.copy(source_image, destination_image)
    destination_spec = linux_spec(destination_image, "gcdest")
    migration = testbed.migrate(source, destination_spec, "--hold-background", "900s", "--allow-differences", guide="on")
    guide = migration.migrate.wait_event("guide-started")["pid"]
    names = [link["ifname"] for link in links_of(guide) if link["ifname"] != "lo"]
    assert len(names) == 1, f"the guide's namespace has {names}"

    from_guide, from_source = testbed.directory / "guide.pcap", testbed.directory / "source.pcap"
    with capture(from_guide, names[0], guide):
        migration.migrate.wait_event("guide-runs")
        before = digest(source_image)
        with capture(from_source, "gcsource"):
            # The guide executes the same: writes to its disk and packets on its network.
            wait_heartbeat(migration.destination, 5)
            wait_for("the guide sends packets into its quarantine", lambda: packets(from_guide) > 0, 30 * SLOW, 0.5)
            assert "master" not in links_of(guide)[-1], "the guide's link is connected to something"
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
