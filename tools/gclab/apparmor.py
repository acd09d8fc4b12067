# SPDX-License-Identifier: GPL-2.0-or-later
"""AppArmor, where the kernel runs with it: profiles, and namespaces of them. Needs root."""

import subprocess
from pathlib import Path

TIMEOUT = 120
SECURITY = Path("/sys/kernel/security")
NAMESPACES = SECURITY / "apparmor" / "policy" / "namespaces"


def missing() -> str:
    """Why there is none here; empty if there is."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text().strip() != "Y":
        return "this kernel runs without AppArmor"
    if not (SECURITY / "apparmor").exists():
        subprocess.run(["mount", "-t", "securityfs", "securityfs", str(SECURITY)], check=True, timeout=TIMEOUT)
    return ""


def under(profile: str) -> tuple[str, ...]:
    """What a command line begins with that is to run under a profile."""
    return ("aa-exec", "--profile", profile, "--")


def inside(namespace: str) -> tuple[str, ...]:
    """The same for one that is to run in a namespace, unconfined."""
    return ("aa-exec", "--namespace", namespace, "--profile", "unconfined", "--")


def make_namespace(name: str) -> None:
    (NAMESPACES / name).mkdir()


def delete_namespace(name: str) -> None:
    """With its profiles."""
    (NAMESPACES / name).rmdir()


def replace(file: str, launcher: tuple[str, ...] = ()) -> None:
    """Loads the profiles of a file."""
    _parse("--replace", file, launcher)


def remove(file: str) -> None:
    _parse("--remove", file)


def _parse(action: str, file: str, launcher: tuple[str, ...] = ()) -> None:
    subprocess.run([*launcher, "apparmor_parser", "--skip-cache", action, file], check=True, timeout=TIMEOUT)
