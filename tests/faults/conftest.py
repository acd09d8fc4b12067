# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults with an expectation each. They need root (network namespaces, TUN) and QEMU's TCG."""

import os
import subprocess
from pathlib import Path

import pytest
from gclab.environment import GCCTL, GUEST


def pytest_configure(config: pytest.Config) -> None:
    for path, target in ((GCCTL, "userspace"), (GUEST, "guests")):
        if not path.exists():
            pytest.exit(f"{path} does not exist; run make {target}", returncode=4)
    if os.geteuid() != 0:
        pytest.exit("these tests make network namespaces: run them as root", returncode=4)
    subprocess.run(["make", "-C", str(Path(__file__).parent), "--no-print-directory"], check=True, timeout=60)
