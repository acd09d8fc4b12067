# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/deps: the packages of each release, and what it says elsewhere."""

import os
import subprocess
from pathlib import Path

import pytest
from gclab.environment import SCRIPTS


def deps(os_release: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPTS / "deps", "--list"], env={**os.environ, "GC_OS_RELEASE": str(os_release)},
                          capture_output=True, text=True, timeout=60, check=False)


def release(directory: Path, content: str) -> Path:
    path = directory / "os-release"
    path.write_text(content)
    return path


def packages(directory: Path, version: int) -> set[str]:
    done = deps(release(directory, f'ID=debian\nVERSION_ID="{version}"\n'))
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_each_release_has_its_packages(tmp_path: Path) -> None:
    old, new = packages(tmp_path, 12), packages(tmp_path, 13)
    assert "linux-source-6.1" in old - new
    assert "linux-headers-6.12-amd64" in old - new
    assert "linux-source-6.12" in new - old
    assert {"linux-headers-amd64", "libbpf-dev", "qemu-system-x86"} <= old & new


@pytest.mark.parametrize(("content", "name"), [
    ('ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n', "Ubuntu 24.04.3 LTS"),
    ('ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n', "Debian GNU/Linux forky/sid"),
    ('ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n', "Debian GNU/Linux 11 (bullseye)"),
])
def test_another_release_is_named(tmp_path: Path, content: str, name: str) -> None:
    done = deps(release(tmp_path, content))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"deps: this is {name}, neither Debian 12 nor Debian 13;" in done.stderr
    assert "packages.txt" in done.stderr


def test_no_os_release(tmp_path: Path) -> None:
    done = deps(tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "neither Debian 12 nor Debian 13" in done.stderr
