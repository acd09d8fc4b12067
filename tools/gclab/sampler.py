# SPDX-License-Identifier: GPL-2.0-or-later
"""A counter over time."""

import os
import threading
import time
from collections.abc import Callable

Samples = list[tuple[float, float]]  # (when, the counter's value)


class Sampler(threading.Thread):
    """Reads a counter every `period` seconds from start() on. It has priority: one CPU may play both hosts."""

    PERIOD = 0.05

    def __init__(self, counter: Callable[[], float], period: float = PERIOD, clock: Callable[[], float] = time.time) -> None:
        super().__init__(daemon=True)
        self._counter = counter
        self._period = period
        self._clock = clock
        self._samples: Samples = []
        self._stopping = False

    def run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        while not self._stopping:
            self._samples.append((self._clock(), self._counter()))
            time.sleep(self._period)

    def stop(self) -> Samples:
        self._stopping = True
        self.join()
        return self._samples
