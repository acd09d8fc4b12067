# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/kernels: which installed kernels the module is built for, and why not for the others."""

import os
import subprocess
from pathlib import Path

import pytest
from gclab.environment import SCRIPTS


def kernels(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run([SCRIPTS / "kernels", *arguments], env={**os.environ, "GC_KERNELS_ROOT": str(root)},
                          capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def install(root: Path, version: str, *parts: str) -> None:
    """`parts` of: image (in /boot), own-image (beside the modules), modules, headers."""
    files = {"image": root / "boot" / f"vmlinuz-{version}", "own-image": root / "lib/modules" / version / "vmlinuz",
             "modules": root / "lib/modules" / version / "modules.dep",
             "headers": root / "lib/modules" / version / "build/Makefile"}
    for part in parts:
        files[part].parent.mkdir(parents=True, exist_ok=True)
        files[part].touch()


def test_the_newest_of_each_series(tmp_path: Path) -> None:
    for version in ("6.1.0-9-amd64", "6.1.0-50-amd64", "6.12.117+deb12-amd64"):
        install(tmp_path, version, "image", "modules", "headers")
    install(tmp_path, "7.3.4+deb13-amd64", "own-image", "modules", "headers")
    assert kernels(tmp_path) == ["6.1.0-50-amd64", "6.12.117+deb12-amd64", "7.3.4+deb13-amd64"]
    assert kernels(tmp_path, "--explain") == ["6.1.0-9-amd64: 6.1.0-50-amd64 is newer"]


@pytest.mark.parametrize(("parts", "reason"), [
    (("image", "modules"), "no headers: install linux-headers-6.12.9-amd64"),
    (("image", "headers"), "no modules: install linux-image-6.12.9-amd64"),
    (("modules", "headers"), "no image: install linux-image-6.12.9-amd64"),
])
def test_an_incomplete_kernel_is_left_out(tmp_path: Path, parts: tuple[str, ...], reason: str) -> None:
    install(tmp_path, "6.12.9-amd64", *parts)
    install(tmp_path, "6.12.8-amd64", "image", "modules", "headers")
    assert kernels(tmp_path) == ["6.12.8-amd64"]
    assert kernels(tmp_path, "--explain") == [f"6.12.9-amd64: {reason}"]


def test_another_series_is_left_out(tmp_path: Path) -> None:
    install(tmp_path, "6.19.1-amd64", "image", "modules", "headers")
    install(tmp_path, "6.10.1-amd64", "image", "modules", "headers")
    assert kernels(tmp_path) == []
    assert kernels(tmp_path, "--explain") == [
        f"{version}: not of a series that is supported: 6.1 6.12 7.2 7.3" for version in ("6.10.1-amd64", "6.19.1-amd64")]
