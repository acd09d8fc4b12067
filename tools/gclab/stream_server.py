# SPDX-License-Identifier: GPL-2.0-or-later
"""The receiving end of a tenant's stream; it counts what arrives."""

import re
import subprocess
import threading
import time

from .environment import SLOW
from .sampler import Sampler, Samples

INTERVAL = 0.1  # seconds between two counts
# Tenants compete with a migration for the link. On hosts of their own they would not compete for the CPU, so in the lab
# they have priority.
FIRST = ("nice", "-n", "-20")


class StreamServer:
    """An iperf3 server for one client. It listens when this returns."""

    def __init__(self, address: str, launcher: tuple[str, ...] = ()) -> None:
        self._rates: list[tuple[float, float]] = []
        self._process = subprocess.Popen(
            [*FIRST, *launcher, "iperf3", "--server", "--one-off", "--bind", address, "--interval", str(INTERVAL),
             "--forceflush", "--format", "k"], stdout=subprocess.PIPE, text=True)
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._listening.wait(20 * SLOW), "iperf3's server does not listen"
        self._sampler = Sampler(self.arrived)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if "Server listening" in line:
                self._listening.set()
            # The line with the sum ends with "receiver" instead.
            if match := re.search(r"\s(\d+(?:\.\d+)?) Kbits/sec\s*$", line):
                self._rates.append((time.monotonic(), float(match[1]) * 1000 / 8))

    def arrived(self) -> float:
        """Bytes so far."""
        return sum(rate for _, rate in list(self._rates)) * INTERVAL

    def sample(self) -> None:
        """Begins to sample arrived()."""
        self._sampler.start()

    def samples(self) -> Samples:
        """Ends the sampling."""
        return self._sampler.stop()

    def wait(self) -> list[tuple[float, float]]:
        """Waits until the client has ended; returns (when, bytes per second) of each interval."""
        self._process.wait(30 * SLOW)
        self._reader.join()
        return self._rates
