# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded waiting."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """A point in time that is `seconds` away when it is made."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; negative when it has passed."""
        return self._at - time.monotonic()

    def passed(self) -> bool:
        return self.left() <= 0


def wait_for(what: str, condition: Callable[[], T], timeout: float, interval: float = 0.05) -> T:
    """Returns the first true value of condition(); fails with `what` after `timeout` seconds."""
    deadline = Deadline(timeout)
    while True:
        value = condition()
        if value:
            return value
        if deadline.passed():
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
