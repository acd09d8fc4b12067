# SPDX-License-Identifier: GPL-2.0-or-later
"""What a counter shows over time."""

import os
import threading
import time
from collections.abc import Callable

Samples = list[tuple[float, float]]  # (time.time(), the count then)


class Sampler(threading.Thread):
    """Reads a counter all the while. It goes before all else: one CPU may play both hosts."""

    PERIOD = 0.05

    def __init__(self, counter: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self.counter = counter
        self.seen: Samples = []
        self.stopping = False

    def run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        while not self.stopping:
            self.seen.append((time.time(), self.counter()))
            time.sleep(self.PERIOD)

    def stop(self) -> Samples:
        self.stopping = True
        self.join()
        return self.seen
