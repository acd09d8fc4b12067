# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads on Linux: the demo's guest (scripts/make-demo-guest), as a server that is asked from outside, and at a build."""

import random
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.bench import Bench  # noqa: E402
from harness.environment import DEMO, SLOW  # noqa: E402
from harness.far_host import FarHost, ip  # noqa: E402
from harness.sampler import Sampler, Samples  # noqa: E402
from harness.second_host import SecondHost, There  # noqa: E402
from harness.vm import Spec, Vm  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from metered import Metered  # noqa: E402

LINUX = Spec(ram_mib=128, kernel=DEMO / "kernel", initrd=DEMO / "initramfs")
CONSOLE = "console=ttyS0 quiet tsc=reliable"
Far = FarHost | SecondHost


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

    client_address, vm_address = "10.0.0.1", "10.0.0.2"
    source_tap, destination_tap, bridge = "tap-src", "tap-dst", "br-vm"

    def __init__(self, far: Far) -> None:
        self.ends = [(ip, (self.source_tap, self.destination_tap)), (far.ip, (self.destination_tap,))]
        self.cable = far.cable()
        for there, taps in self.ends:
            there("link", "add", self.bridge, "type", "bridge")
            for tap in taps:
                there("tuntap", "add", tap, "mode", "tap", "vnet_hdr")
            for port in (*taps, self.cable):
                there("link", "set", port, "master", self.bridge, "up")
            there("link", "set", self.bridge, "up")
        ip("address", "add", f"{self.client_address}/24", "dev", self.bridge)

    @staticmethod
    def device(tap: str) -> tuple[str, ...]:
        return ("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no",
                "-device", "virtio-net-pci,netdev=net,mac=52:54:00:67:63:01,romfile=")

    def close(self) -> None:
        for there, taps in self.ends:
            there("link", "set", self.cable, "nomaster")
            for link in (*taps, self.bridge):
                there("link", "del", link)


class Client(threading.Thread):
    """Asks a redis for one value after the other, some keys much more often than others, and sets each tenth anew. What it
    gets must be what it set."""

    KEYS, SIZE, SKEW, PORT = 8000, 1024, 0.99, 6379  # SKEW: zipf's, as YCSB has it
    THINK = 0.001  # seconds between two requests

    def __init__(self, address: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.keys = self.random.choices(range(self.KEYS), weights=[1 / (rank + 1) ** self.SKEW for rank in range(self.KEYS)], k=50_000)
        self.connection = socket.create_connection((address, self.PORT), timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.connection.makefile("rb")
        self.answered = 0
        self.error = ""
        self.stopping = False

    def command(self, *words: str) -> bytes:
        """A simple or bulk reply."""
        parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
        self.connection.sendall("".join(parts).encode())
        head = self.replies.readline()
        return self.replies.read(int(head[1:]) + 2)[:-2] if head.startswith(b"$") else head.strip()

    def value(self, key: int) -> str:
        # Keys lie about memory by their hash, not in the order of how often they are asked for.
        return f"{key:08d}" * (self.SIZE // 8)

    def fill(self) -> None:
        script = (f"for i = 0, {self.KEYS - 1} do redis.call('set', 'key:' .. i, string.rep(string.format('%08d', i), "
                  f"{self.SIZE // 8})) end return redis.status_reply('OK')")
        reply = self.command("eval", script, "0")
        assert reply == b"+OK", reply

    def run(self) -> None:
        try:
            for count, key in enumerate(self.keys * 1000):
                if self.stopping:
                    return
                if count % 10 == 9:
                    assert self.command("set", f"key:{key}", self.value(key)) == b"+OK"
                else:
                    got = self.command("get", f"key:{key}")
                    assert got == self.value(key).encode(), f"key {key} holds {got[:40]!r}"
                self.answered += 1
                time.sleep(self.THINK)
        except (OSError, AssertionError, ValueError) as error:
            self.error = f"{type(error).__name__} after {self.answered} requests: {error}"

    def stop(self) -> None:
        self.stopping = True
        self.join()
        self.connection.close()


class Redis:
    """A redis that clients ask from outside. The guide does not see their requests."""

    unit = "requests/s"
    CLIENTS = 2

    def __init__(self) -> None:
        append = f"{CONSOLE} demo.batch=0 demo.ip={VmNetwork.vm_address}/24"
        self.spec = LINUX.but(append=append, args=VmNetwork.device(VmNetwork.destination_tap))
        self.network: VmNetwork | None = None
        self.clients: list[Client] = []
        self.vms: list[Vm | There] = []
        self.sampler = Sampler(self.done)

    def start(self, bench: Bench, far: Far) -> Vm:
        self.network = VmNetwork(far)
        source = bench.start(self.spec.but(args=VmNetwork.device(VmNetwork.source_tap)))
        self.vms.append(source)
        wait_ready(source)
        self.clients = [Client(VmNetwork.vm_address, seed) for seed in range(self.CLIENTS)]
        self.clients[0].fill()
        for client in self.clients:
            client.start()
        wait_for("redis answers", lambda: self.done() > 0, 20 * SLOW)
        return source

    def sample(self) -> None:
        self.sampler.start()

    def moves_to(self, destination: Vm | There) -> None:
        self.vms.append(destination)

    def samples(self) -> list[Samples]:
        return [self.sampler.stop()]

    def done(self) -> float:
        return sum(client.answered for client in self.clients)

    def verify(self, seconds: float) -> None:
        before = [client.answered for client in self.clients]
        time.sleep(seconds)
        for client, was in zip(self.clients, before, strict=True):
            wait_for(f"redis answers; {client.error}", lambda client=client, was=was: client.error or client.answered > was, 20 * SLOW)
            assert not client.error, client.error
        for vm in self.vms:
            vm.check()

    def end(self) -> None:
        for client in self.clients:
            client.stop()
        if self.network:
            self.network.close()
