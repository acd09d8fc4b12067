# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that the lab can boot, and their modules."""

import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


class KernelError(Exception):
    """No such kernel, or it lacks something; the text says what to do."""


def _version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _image(release: str) -> Path | None:
    """Debian's packages have it in /boot, and since 7.1 beside the modules."""
    images = [Path(f"/boot/vmlinuz-{release}"), Path(f"/lib/modules/{release}/vmlinuz")]
    return next((image for image in images if image.exists()), None)


def _installed() -> list[str]:
    """The kernels that have an image and their modules, oldest first."""
    found = [entry.name for entry in Path("/lib/modules").iterdir() if _image(entry.name) and (entry / "modules.dep").exists()]
    return sorted(found, key=_version_key)


def choose(wanted: str | None) -> str:
    """The newest installed kernel whose version starts with `wanted`. By default 6.1, else the running one, else any."""
    installed = _installed()
    for prefix in [wanted] if wanted else ["6.1", platform.release(), ""]:
        # 6.1 is no prefix of 6.12.
        found = [version for version in installed if re.match(re.escape(prefix) + r"(?![0-9])" if prefix else "", version)]
        if found:
            return found[-1]
    raise KernelError(f"no kernel {wanted or ''} is installed with its modules (found: {', '.join(installed) or 'none'}); "
                      "run scripts/deps")


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot: its release as in `uname -r`, its image, and the directory above its lib/modules."""

    release: str
    image: Path
    root: Path

    @staticmethod
    def installed(wanted: str | None = None) -> "Kernel":
        release = choose(wanted)
        image = _image(release)
        assert image
        return Kernel(release, image, Path("/"))

    @staticmethod
    def built_in(directory: Path) -> "Kernel":
        """A kernel that scripts/test-kernel built or scripts/fetch-kernel fetched."""
        directory = directory.resolve()
        if not (directory / "release").exists():
            raise KernelError(f"{directory} was not made by scripts/test-kernel or scripts/fetch-kernel: it has no file 'release'")
        return Kernel((directory / "release").read_text().strip(), (directory / "image").resolve(), directory)

    def module_files(self, names: list[str]) -> list[Path]:
        """The files of these modules and of their dependencies, in loading order."""
        files: dict[Path, None] = {}
        for name in names:
            plan = subprocess.run(["/sbin/modprobe", "-d", str(self.root), "-S", self.release, "-D", name],
                                  capture_output=True, text=True, check=False, timeout=60)
            if plan.returncode != 0:
                raise KernelError(f"kernel {self.release} has no module {name}: {plan.stderr.strip()}")
            for line in plan.stdout.splitlines():
                if line.startswith("insmod "):
                    files[Path(line.split()[1])] = None
        return list(files)


def decompressed(module: Path) -> bytes:
    """A module file's content as busybox's insmod can load it."""
    tools = {".xz": "xz", ".zst": "zstd", ".gz": "gzip"}
    if module.suffix not in tools:
        return module.read_bytes()
    return subprocess.run([tools[module.suffix], "-dc", module], stdout=subprocess.PIPE, check=True, timeout=60).stdout
