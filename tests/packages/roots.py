# SPDX-License-Identifier: GPL-2.0-or-later
"""Fresh Debian roots: one cached base per release, and an overlay on it for each use.

Layout of the cache, by default ~/.cache/guidecopy/roots:

    RELEASE/root            the base, made by mmdebstrap
    RELEASE/archives        packages that apt has downloaded
    RELEASE/layer-NAME-KEY  packages of the release installed on the base; KEY is a hash of what was asked for
    ccache                  of the builds
    tmp.*                   overlays in use

All mounts are made in a mount namespace of this process, and each command has a PID namespace of its own: however the
tests end, no mount and no process is left.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "guidecopy" / "roots"
MIRROR_HOST = "deb.debian.org"
MAX_AGE_S = 14 * 24 * 3600  # then a base is made anew, with the release's updates

CLONE_NEWNS = 0x00020000
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
               "PYTHONDONTWRITEBYTECODE": "1"}
# A real root, no chroot in another: nsenter --mount would leave that.
ENTER = 'cd "$0"; mount --move . /; exec chroot . "$@"'
INSTALL = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends")


class Unavailable(Exception):
    """What the tests need is not on this machine and cannot be had."""


def enter_mount_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Unavailable(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    mount("--make-rprivate", "/")


def mount(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Unavailable(f"mount {' '.join(map(str, arguments))}: {done.stderr.strip()}")


@contextmanager
def locked_cache() -> Iterator[None]:
    """The cache for this process alone, without what an earlier one left."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        deadline = time.monotonic() + 600
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{CACHE} is in use by another run") from None
                time.sleep(1)
        for left in CACHE.glob("tmp.*"):
            shutil.rmtree(left)
        yield


def check_mirror() -> None:
    try:
        socket.create_connection((MIRROR_HOST, 80), timeout=10).close()
    except OSError as error:
        raise Unavailable(f"cannot reach {MIRROR_HOST}: {error}") from error


class Release:
    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = CACHE / name
        self.base = self.directory / "root"
        self.archives = self.directory / "archives"

    def prepare(self) -> None:
        """Makes the base if there is none, or an old one and a mirror to make another from."""
        if self.base.exists():
            if time.time() - (self.directory / "made").stat().st_mtime < MAX_AGE_S:
                return
            try:
                check_mirror()
            except Unavailable:
                return
        check_mirror()
        new = CACHE / f"tmp.{self.name}"
        (new / "archives" / "partial").mkdir(parents=True)
        subprocess.run(["nice", "mmdebstrap", "--quiet", "--variant=apt", "--skip=cleanup/apt/lists", "--dpkgopt=force-unsafe-io",
                        self.name, str(new / "root")], stdin=subprocess.DEVNULL, timeout=600, check=True)
        (new / "made").touch()
        shutil.rmtree(self.directory, ignore_errors=True)
        new.rename(self.directory)

    def layer(self, name: str, key: str, install: Callable[["Root"], object]) -> Path:
        """A layer on the base with what `install` has installed: made once, and anew if `key` is another."""
        layer = self.directory / f"layer-{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        if not layer.exists():
            for old in self.directory.glob(f"layer-{name}-*"):
                shutil.rmtree(old)
            with Root(self, name) as root:
                install(root)
                root.unmount()
                root.upper.rename(layer)
        return layer


class Root:
    """An overlay on a release's base and layers, to be used in `with`. `mounts`: (outside, inside, read-only) directories."""

    def __init__(self, release: Release, name: str, *layers: Path, mounts: tuple[tuple[Path, str, bool], ...] = ()) -> None:
        self.release = release
        self.directory = CACHE / f"tmp.{release.name}-{name}"
        self.upper, self.work, self.path = (self.directory / part for part in ("upper", "work", "root"))
        for directory in (self.upper, self.work, self.path):
            directory.mkdir(parents=True)
        lower = ":".join(str(layer) for layer in (*reversed(layers), release.base))
        mount("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={self.upper},workdir={self.work}", self.path)
        mount("-t", "sysfs", "-o", "ro", "sysfs", self.path / "sys")
        mount("--bind", self.path / "dev", self.path / "dev")  # libvirt looks for a mount there
        mount("-t", "devpts", "-o", "ptmxmode=666", "devpts", self.path / "dev" / "pts")
        mount("-t", "tmpfs", "tmpfs", self.path / "dev" / "shm")
        userfaultfd = Path("/dev/userfaultfd")
        if userfaultfd.exists():  # a guide that is not captured by the module needs it
            target = self.path / "dev" / userfaultfd.name
            target.touch()
            mount("--bind", userfaultfd, target)
        for outside, inside, read_only in ((release.archives, "/var/cache/apt/archives", False), *mounts):
            target = self.path / inside.lstrip("/")
            target.mkdir(parents=True, exist_ok=True)
            mount("--bind", outside, target)
            if read_only:
                mount("-o", "remount,bind,ro", target)
        shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")

    def run(self, *command: object, timeout: int = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["setpriv", "--pdeathsig", "KILL", "nice", "unshare", "--pid", "--fork", "--kill-child",
                               f"--mount-proc={self.path / 'proc'}", "sh", "-ec", ENTER, str(self.path), *map(str, command)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout, check=False, env=ENVIRONMENT | environment)

    def output(self, *command: object, timeout: int = 60, **environment: str) -> str:
        """What a command printed that succeeded."""
        done = self.run(*command, timeout=timeout, **environment)
        assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def apt(self, *command: object, timeout: int = 600) -> str:
        """Runs apt-get; once more with new lists if the first attempt fails. Unavailable if no mirror can be reached."""
        done = self.run(*command, timeout=timeout)
        if done.returncode != 0:
            check_mirror()
            self.output("apt-get", "update", "--quiet", timeout=120)
            return self.output(*command, timeout=timeout)
        return done.stdout

    def install(self, *packages: object) -> str:
        return self.apt(*INSTALL, *packages)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.path / path.lstrip("/"))

    def unmount(self) -> None:
        subprocess.run(["umount", "--recursive", str(self.path)], check=True, timeout=30)

    def __enter__(self) -> "Root":
        return self

    def __exit__(self, *_: object) -> None:
        if os.path.ismount(self.path):
            self.unmount()
        shutil.rmtree(self.directory)
