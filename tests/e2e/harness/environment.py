# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the tests run: in the lab with KVM and the module, or on the bare host with QEMU's TCG."""

import os
import platform
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
BUILD = TREE / "build"

IN_LAB = os.environ.get("GC_LAB") == "1"
TWO_HOSTS = os.environ.get("GC_LAB_HOSTS") == "2"  # the lab has another VM, which runs host_agent.py
ACCEL = "kvm" if IN_LAB else "tcg"
GUIDE_MODES = ["on", "off"] if IN_LAB else ["off"]

GCCTL = Path(os.environ.get("GCCTL", BUILD / "bin" / "gcctl"))
GUEST = Path(os.environ.get("GC_GUEST", BUILD / "guests" / "memory"))
DEMO = BUILD / "demo"
MODULE = Path(os.environ.get("GC_MODULE", BUILD / "kmod" / platform.release() / "guidecopy.ko"))

# How much longer than on idle hardware anything may take; emulated nested virtualisation is some ten times slower.
SLOW = 6 if IN_LAB else 3
