# SPDX-License-Identifier: GPL-2.0-or-later
"""Tenants of the link to the far host whose luck is measured, and what the NIC sends."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from .environment import GCCTL, SLOW
from .far_host import FarHost
from .stream_server import FIRST, INTERVAL

REQUEST_PORT = 5300

ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
connection, _ = listener.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := connection.recv(4096):
    connection.sendall(data)
"""


class Stream:
    """iperf3 as fast as it goes; what arrives is counted at the far end."""

    def __init__(self, far: FarHost) -> None:
        self.far = far
        self.server = far.stream_server()
        self.client: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.client = subprocess.Popen([*FIRST, "iperf3", "--client", self.far.address, "--time", "3600"],
                                       stdout=subprocess.DEVNULL)

    def stop(self) -> list[tuple[float, float]]:
        """(when, bytes per second) of each interval."""
        assert self.client
        self.client.send_signal(signal.SIGINT)
        self.client.wait(30 * SLOW)
        return self.server.wait()


class Requests:
    """Asks an echo server for 200 bytes each PERIOD, one at a time."""

    PERIOD = 0.02

    def __init__(self, far: FarHost) -> None:
        self.server = subprocess.Popen([*FIRST, *far.enter, sys.executable, "-c", ECHO, far.address, str(REQUEST_PORT)],
                                       stdout=subprocess.PIPE, text=True)
        assert self.server.stdout and self.server.stdout.readline().startswith("listening")
        self.connection = socket.create_connection((far.address, REQUEST_PORT), timeout=10 * SLOW)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.took: list[tuple[float, float]] = []
        self.stopping = False
        self.thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        gc.disable()
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        data, next_at = bytes(200), time.monotonic()
        while not self.stopping:
            begin = time.monotonic()
            self.connection.sendall(data)
            left = len(data)
            while left > 0:
                left -= len(self.connection.recv(left))
            now = time.monotonic()
            self.took.append((begin, now - begin))
            next_at = max(next_at + self.PERIOD, now)
            time.sleep(next_at - now)
        gc.enable()

    def stop(self) -> list[tuple[float, float]]:
        """(when, seconds) of each request."""
        self.stopping = True
        self.thread.join()
        self.connection.close()
        self.server.wait(10 * SLOW)
        return self.took


class Transmitted:
    """Reads how many bytes a NIC has sent."""

    def __init__(self, nic: str) -> None:
        self.counter = Path(f"/sys/class/net/{nic}/statistics/tx_bytes")
        self.seen: list[tuple[float, int]] = []
        self.stopping = False
        self.thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        while not self.stopping:
            self.seen.append((time.monotonic(), int(self.counter.read_text())))
            time.sleep(INTERVAL)

    def stop(self) -> list[tuple[float, int]]:
        """(when, bytes so far)."""
        self.stopping = True
        self.thread.join()
        return self.seen


class Classes:
    """Reads what each class of a traffic policy has sent, while one is there."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([str(GCCTL), "policy", "show", f"--watch={round(2000 * INTERVAL)}ms", "--json"],
                                        stdout=subprocess.PIPE, text=True)
        self.seen: list[tuple[float, dict[str, int]]] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            for policy in json.loads(line):
                self.seen.append((time.monotonic(), {name: counts["bytes"] for name, counts in policy["classes"].items()}))

    def stop(self) -> list[tuple[float, dict[str, int]]]:
        """(when, bytes so far of each class)."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10 * SLOW)
        self.reader.join()
        return self.seen
