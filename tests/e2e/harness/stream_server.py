# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of a tenant's stream that counts what arrives."""

import re
import subprocess
import threading
import time

from .environment import SLOW
from .sampler import Sampler, Samples

INTERVAL = 0.1
# Tenants compete with a migration for the link. In the lab also for the one CPU, of which they then go first, as a tenant
# has CPUs of its own.
FIRST = ("nice", "-n", "-20")


class StreamServer:
    """An iperf3 server for one client. It listens when it is made."""

    def __init__(self, address: str, enter: tuple[str, ...] = ()) -> None:
        self.rates: list[tuple[float, float]] = []
        self.process = subprocess.Popen([*FIRST, *enter, "iperf3", "--server", "--one-off", "--bind", address, "--interval",
                                         str(INTERVAL), "--forceflush", "--format", "k"], stdout=subprocess.PIPE, text=True)
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        assert self.listening.wait(20 * SLOW), "iperf3's server does not listen"
        self.sampler = Sampler(self.arrived)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if "Server listening" in line:
                self.listening.set()
            # The summary at the end has "receiver" behind it.
            if match := re.search(r"\s(\d+(?:\.\d+)?) Kbits/sec\s*$", line):
                self.rates.append((time.monotonic(), float(match[1]) * 1000 / 8))

    def arrived(self) -> float:
        """Bytes so far."""
        return sum(rate for _, rate in list(self.rates)) * INTERVAL

    def sample(self) -> None:
        """Samples `arrived` from now on."""
        self.sampler.start()

    def samples(self) -> Samples:
        return self.sampler.stop()

    def wait(self) -> list[tuple[float, float]]:
        """When the client has ended: (when, bytes per second) of each interval."""
        self.process.wait(30 * SLOW)
        self.reader.join()
        return self.rates
