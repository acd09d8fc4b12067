# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux guest that scripts/make-demo-guest makes. scripts/demo-guest-init says what its options do."""

from typing import Any

from .environment import DEMO
from .vm import Spec

READY = "READY"  # printed when the guest's work has begun


def spec(*options: str, ram_mib: int = 128, **more: Any) -> Spec:
    """`options` such as batch=16, as they follow "demo." on the guest's kernel command line."""
    append = " ".join(["console=ttyS0 quiet tsc=reliable", *(f"demo.{option}" for option in options)])
    return Spec(ram_mib=ram_mib, kernel=DEMO / "kernel", initrd=DEMO / "initramfs", append=append, **more)
