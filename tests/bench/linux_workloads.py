# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads on Linux: the demo's guest (scripts/make-demo-guest), as a server that is asked from outside, and at a build."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.bench import Bench  # noqa: E402
from harness.environment import DEMO, SLOW  # noqa: E402
from harness.far_host import ip  # noqa: E402
from harness.redis_client import RedisClient  # noqa: E402
from harness.sampler import Samples  # noqa: E402
from harness.second_host import Far, There  # noqa: E402
from harness.vm import Spec, Vm  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from metered import Metered  # noqa: E402

LINUX = Spec(ram_mib=128, kernel=DEMO / "kernel", initrd=DEMO / "initramfs")
CONSOLE = "console=ttyS0 quiet tsc=reliable"


def wait_ready(vm: Vm) -> None:
    def ready() -> bool:
        vm.check_alive()
        assert "FAILED" not in vm.serial(), vm.serial()[-2000:]
        return "READY" in vm.serial()

    wait_for("the guest is ready", ready, 40 * SLOW, 0.2)


class Build(Metered):
    """Short programs over small files, each with its own process."""

    unit = "jobs/s"

    def __init__(self) -> None:
        super().__init__(LINUX.but(meter=True, append=f"{CONSOLE} demo.batch=0 demo.build=1"))

    def start(self, bench: Bench, _: Far) -> Vm:
        self.vms.append(bench.start(self.spec))
        wait_ready(self.vms[0])
        wait_for("the guest works", lambda: self.done() > 0, 20 * SLOW)
        return self.vms[0]

    def verify(self, seconds: float) -> None:
        before = self.done()
        time.sleep(seconds)
        wait_for("the guest goes on", lambda: self.done() > before, 20 * SLOW)
        for vm in self.vms:
            assert "ERR" not in vm.serial(), vm.serial()[-2000:]
            vm.check()


class VmNetwork:
    """The VM's own: a bridge on each host, joined by a cable that no migration uses, and a tap for each end's QEMU. Where the
    far host is a namespace, the destination's QEMU may be in either, and has a tap of the same name in both."""

    client_address, vm_address, far_client_address = "10.0.0.1", "10.0.0.2", "10.0.0.3"
    source_tap, destination_tap, bridge = "tap-src", "tap-dst", "br-vm"

    def __init__(self, far: Far) -> None:
        self.ends = [(ip, self.client_address, (self.source_tap, self.destination_tap)),
                     (far.ip, self.far_client_address, (self.destination_tap,))]
        self.cable = far.cable()
        for there, address, taps in self.ends:
            there("link", "add", self.bridge, "type", "bridge")
            for tap in taps:
                there("tuntap", "add", tap, "mode", "tap", "vnet_hdr")
            for port in (*taps, self.cable):
                there("link", "set", port, "master", self.bridge, "up")
            there("link", "set", self.bridge, "up")
            there("address", "add", f"{address}/24", "dev", self.bridge)

    @staticmethod
    def device(tap: str) -> tuple[str, ...]:
        return ("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no",
                "-device", "virtio-net-pci,netdev=net,mac=52:54:00:67:63:01,romfile=")

    def close(self) -> None:
        for there, _, taps in self.ends:
            there("link", "set", self.cable, "nomaster")
            for link in (*taps, self.bridge):
                there("link", "del", link)


class Redis:
    """A redis that is asked from outside, by a client on each host: one of them is near it before the VM moves, the other
    thereafter, and neither host has more to do then. The guide does not see their requests."""

    unit = "requests/s"

    def __init__(self) -> None:
        append = f"{CONSOLE} demo.batch=0 demo.ip={VmNetwork.vm_address}/24"
        self.spec = LINUX.but(append=append, args=VmNetwork.device(VmNetwork.destination_tap))
        self.network: VmNetwork | None = None
        self.clients: list[RedisClient | There] = []
        self.vms: list[Vm | There] = []

    def start(self, bench: Bench, far: Far) -> Vm:
        self.network = VmNetwork(far)
        source = bench.start(self.spec.but(args=VmNetwork.device(VmNetwork.source_tap)))
        self.vms.append(source)
        wait_ready(source)
        self.clients = [RedisClient(VmNetwork.vm_address, 0), far.redis_client(VmNetwork.vm_address, 1)]
        self.clients[0].fill()
        for client in self.clients:
            client.start()
        wait_for("redis answers", lambda: all(client.answered() > 0 for client in self.clients), 20 * SLOW)
        return source

    def sample(self) -> None:
        for client in self.clients:
            client.sample()

    def moves_to(self, destination: Vm | There) -> None:
        self.vms.append(destination)

    def samples(self) -> list[Samples]:
        return [client.samples() for client in self.clients]

    def verify(self, seconds: float) -> None:
        before = [client.answered() for client in self.clients]
        time.sleep(seconds)
        for client, was in zip(self.clients, before, strict=True):
            wait_for("redis answers", lambda client=client, was=was: client.error() or client.answered() > was, 20 * SLOW)
            assert not client.error(), client.error()
        for vm in self.vms:
            vm.check()

    def end(self) -> None:
        for client in self.clients:
            client.stop()
        if self.network:
            self.network.close()
