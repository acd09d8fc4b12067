# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's initramfs: busybox, lab-init, and the modules that reach the host's root."""

import gzip
import hashlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .kernel import Kernel, KernelError, decompressed

INIT = Path(__file__).resolve().with_name("lab-init")
BUSYBOX = Path("/bin/busybox")
MODULES = ["virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay"]
KEPT = 3600  # seconds that an initramfs made of other inputs stays: another lab may be about to boot it


def make(kernel: Kernel, cache: Path) -> Path:
    """The initramfs for `kernel` in `cache`; makes it only if one of its inputs has changed."""
    inputs = [INIT, Path(__file__), Path(__file__).with_name("kernel.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs))
    digest.update(f"{kernel.image} {kernel.image.stat().st_mtime_ns}".encode())
    image = cache / f"initramfs-{kernel.release}-{digest.hexdigest()[:16]}.gz"
    if image.exists():
        return image
    if not BUSYBOX.exists():
        raise KernelError(f"no {BUSYBOX} (static); run scripts/deps")
    with tempfile.TemporaryDirectory(dir=cache) as temp:
        root, part = Path(temp) / "root", Path(temp) / "image"
        _fill(root, kernel)
        part.write_bytes(_archive(root))
        part.rename(image)  # atomic, since several labs may start at once
    for old in cache.glob(f"initramfs-{kernel.release}-*.gz"):
        if old != image and time.time() - old.stat().st_mtime > KEPT:
            old.unlink(missing_ok=True)
    return image


def _fill(root: Path, kernel: Kernel) -> None:
    for name in ("bin", "proc", "sys", "dev", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    names = []
    for path in kernel.module_files(MODULES):
        names.append(path.name.split(".ko")[0] + ".ko")
        (root / "modules" / names[-1]).write_bytes(decompressed(path))
    (root / "modules" / "order").write_text("".join(f"{name}\n" for name in names))


def _archive(root: Path) -> bytes:
    """The directory as a compressed cpio archive."""
    files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=files.encode(),
                             stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return gzip.compress(archive, 1)
