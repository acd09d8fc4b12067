# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the project's files are, and where this process runs: in the lab with KVM and the module, or on the bare host.

Environment variables: GC_PRESET is the preset of CMakePresets.json whose programs are used (default: dev). GCCTL,
GC_GUEST and GC_MODULE name other files than the ones built here. GC_NETWORK is what connects VMs and their clients:
bridge (default), vhost (a bridge, and the kernel's vhost-net) or openvswitch; the others want the lab, for a kernel
with modules. The lab sets GC_LAB, GC_LAB_HOSTS and GC_MODULE_PARAMETERS, and passes GC_PRESET on to its hosts.
"""

import os
import platform
import subprocess
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
TOOLS = TREE / "tools"
SCRIPTS = TREE / "scripts"
BUILD = TREE / "build"
PRESET = os.environ.get("GC_PRESET", "dev")
CMAKE_TREE = BUILD / PRESET
BIN = CMAKE_TREE / "bin"
DEMO = BUILD / "demo"  # the Linux guest of scripts/make-demo-guest

PYTHON = "/usr/bin/python3"

# What scripts/fetch-kernel fetches.
FETCHED_KERNELS = ["6.1", "6.12", "7.2", "7.3"]

IN_LAB = os.environ.get("GC_LAB") == "1"
TWO_HOSTS = os.environ.get("GC_LAB_HOSTS") == "2"  # the lab has another VM, which runs gclab.agent
ACCEL = "kvm" if IN_LAB else "tcg"
GUIDE_MODES = ["on", "off"]
CAPTURE = "kmod" if IN_LAB else "userfault"  # what --capture auto chooses where the tests run

GCCTL = Path(os.environ.get("GCCTL", BIN / "gcctl"))
GUEST = Path(os.environ.get("GC_GUEST", BUILD / "guests" / "memory"))
MODULE = Path(os.environ.get("GC_MODULE", BUILD / "kmod" / platform.release() / "guidecopy.ko"))
MODULE_PARAMETERS = os.environ.get("GC_MODULE_PARAMETERS", "").split()

NETWORK = os.environ.get("GC_NETWORK", "bridge")
if NETWORK not in ("bridge", "vhost", "openvswitch"):
    raise ValueError(f"GC_NETWORK: expected bridge, vhost or openvswitch, found '{NETWORK}'")

# Factor on all time limits, which are for idle hardware. Emulated nested virtualisation is about ten times slower.
SLOW = 6 if IN_LAB else 3


def kernels() -> list[str]:
    """The kernels that the module is built for and tested on; the first one is the default."""
    found = subprocess.run([SCRIPTS / "kernels"], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return found


def module_for(kernel: str) -> Path:
    return BUILD / "kmod" / kernel / "guidecopy.ko"
