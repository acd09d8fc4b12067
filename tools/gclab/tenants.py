# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of others on the source's NIC, and what that NIC and the classes of its policy send."""

import gc
import json
import os
import signal
import socket
import subprocess
import threading
import time

from .environment import GCCTL, PYTHON, SLOW
from .far_host import Far
from .network import transmitted
from .sampler import Sampler
from .stream_server import FIRST, INTERVAL

SINK = """
import socket, sys
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while connection.recv(1 << 16):
    pass
"""
ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := connection.recv(4096):
    connection.sendall(data)
"""


class Server:
    """A Python program on the far host that prints its port and serves one connection, and that connection."""

    def __init__(self, far: Far, program: str, *prefix: str) -> None:
        self.process = subprocess.Popen([*prefix, *far.launcher, PYTHON, "-c", program, far.address],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.connection = socket.create_connection((far.address, int(self.process.stdout.readline())), timeout=10 * SLOW)

    def close(self) -> None:
        self.connection.close()
        self.process.wait(10 * SLOW)


class BulkSender:
    """Sends to the far host as fast as TCP allows, and counts the bytes."""

    def __init__(self, far: Far) -> None:
        self._server = Server(far, SINK)
        self._sent = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        data = bytes(1 << 14)
        while not self._stopping:
            self._sent += self._server.connection.send(data)

    def stop(self) -> int:
        """Returns how many bytes it has sent."""
        self._stopping = True
        self._thread.join()
        self._server.close()
        return self._sent


class Stream:
    """An iperf3 client that sends as fast as TCP allows; `server`, at the far end, counts what arrives."""

    def __init__(self, far: Far) -> None:
        self.server = far.stream_server()
        self._address = far.address
        self._client: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._client = subprocess.Popen([*FIRST, "iperf3", "--client", self._address, "--time", "3600"],
                                        stdout=subprocess.DEVNULL)

    def stop(self) -> list[tuple[float, float]]:
        """Returns (when, bytes per second) of each interval."""
        assert self._client
        self._client.send_signal(signal.SIGINT)
        self._client.wait(30 * SLOW)
        rates: list[tuple[float, float]] = self.server.wait()
        return rates


class Requests:
    """Sends SIZE bytes to an echo server each PERIOD, one request at a time."""

    PERIOD, SIZE = 0.02, 200

    def __init__(self, far: Far) -> None:
        self._server = Server(far, ECHO, *FIRST)
        self._server.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._took: list[tuple[float, float]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        gc.disable()
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        next_at = time.monotonic()
        while not self._stopping:
            begin = time.monotonic()
            self._exchange()
            now = time.monotonic()
            self._took.append((begin, now - begin))
            next_at = max(next_at + self.PERIOD, now)
            time.sleep(next_at - now)
        gc.enable()

    def _exchange(self) -> None:
        self._server.connection.sendall(bytes(self.SIZE))
        left = self.SIZE
        while left > 0:
            left -= len(self._server.connection.recv(left))

    def stop(self) -> list[tuple[float, float]]:
        """Returns (when, seconds) of each request."""
        self._stopping = True
        self._thread.join()
        self._server.close()
        return self._took


def transmitted_sampler(nic: str) -> Sampler:
    """Of the bytes that a NIC has sent."""
    return Sampler(lambda: transmitted(nic), INTERVAL, time.monotonic)


class PolicyClasses:
    """Samples the bytes that each class of a traffic policy has sent, while there is a policy."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([str(GCCTL), "policy", "show", f"--watch={round(2000 * INTERVAL)}ms", "--json"],
                                         stdout=subprocess.PIPE, text=True)
        self._seen: list[tuple[float, dict[str, int]]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            for policy in json.loads(line):
                self._seen.append((time.monotonic(), {name: counts["bytes"] for name, counts in policy["classes"].items()}))

    def stop(self) -> list[tuple[float, dict[str, int]]]:
        """Returns (when, bytes so far of each class)."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10 * SLOW)
        self._reader.join()
        return self._seen
