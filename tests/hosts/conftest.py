# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of scripts/lab itself. They run on the bare host and start labs."""

import subprocess
from pathlib import Path

import pytest

TIMEOUT = 150  # seconds for one lab


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console"


def start_lab(tree: Path, *arguments: str, cwd: Path | None = None) -> "subprocess.Popen[str]":
    """scripts/lab of a source tree, with small VMs."""
    return subprocess.Popen([tree / "scripts" / "lab", "--no-nested", "--smp", "1", "--mem", "1G", "--timeout", str(TIMEOUT),
                             *arguments], cwd=cwd or tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def wait_lab(lab: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit status and its output."""
    with lab:
        output = lab.communicate(timeout=TIMEOUT + 60)[0]
        return lab.returncode, output
