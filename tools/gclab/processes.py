# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that are not our children."""

import os
import select
import signal
from pathlib import Path


def children(pid: int) -> list[int]:
    """Of its main thread; none if it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or while it is read
        return []


def kill(pid: int, timeout: float) -> None:
    """Returns when it has ended, whoever's child it is; fails after `timeout` seconds."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        ended, _, _ = select.select([process], [], [], timeout)
        assert ended, f"process {pid} has not ended {timeout:g} s after SIGKILL"
    finally:
        os.close(process)
