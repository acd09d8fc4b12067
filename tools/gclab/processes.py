# SPDX-License-Identifier: GPL-2.0-or-later
"""What /proc says of processes."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """Of its main thread; none if it has ended."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []
