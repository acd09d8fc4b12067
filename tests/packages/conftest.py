# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages of Debian 12 and Debian 13, built in a root of the release that has nothing but their Build-Depends."""

import os
import shutil
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from roots import CACHE, TREE, Release, Root, Unavailable, enter_mount_namespace, locked_cache

RELEASES = {"bookworm": 12, "trixie": 13}
SOURCE, OUT, CCACHE = "/srv/guidecopy", "/srv/deb", "/srv/ccache"
# Beyond Build-Depends: ccache, since nothing else makes a second run short, and the newest lintian.
EXTRA = {"bookworm": ("ccache",), "trixie": ("ccache", "lintian")}
BUILD_TIMEOUT_S = 2400


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]  # it is untyped
def pytest_fixture_setup() -> Generator[None, Any, None]:
    """What is unavailable to a fixture skips the tests that need it, with the reason."""
    outcome = yield
    if outcome.excinfo and isinstance(outcome.excinfo[1], Unavailable):
        outcome.force_exception(pytest.skip.Exception(str(outcome.excinfo[1])))


@pytest.fixture(scope="session")
def cache() -> Iterator[None]:
    if os.geteuid() != 0:
        raise Unavailable("needs root to mount and chroot")
    if not shutil.which("mmdebstrap"):
        raise Unavailable("mmdebstrap is not installed: make deps")
    enter_mount_namespace()
    with locked_cache():
        yield


@pytest.fixture(scope="session", params=RELEASES)
def release(request: pytest.FixtureRequest, cache: None) -> Release:
    release = Release(request.param)
    release.prepare()
    return release


@dataclass
class Built:
    """The packages, and the root that they were built in."""

    root: Root
    directory: Path

    def package(self, name: str) -> Path:
        found = list(self.directory.glob(f"{name}_*.deb"))
        assert len(found) == 1, f"{name}: {found}"
        return found[0]


def build_layer(release: Release) -> Path:
    """The release with Build-Depends installed."""
    control = (TREE / "debian" / "control").read_text().partition("\nPackage:")[0]

    def install(root: Root) -> None:
        source = root.path / "srv" / "source" / "debian"
        source.mkdir(parents=True)
        (source / "control").write_text(control)
        root.apt("apt-get", "build-dep", "--yes", "--quiet", "--no-install-recommends", "/srv/source")
        root.install(*EXTRA[release.name])

    return release.layer("build", control + " ".join(EXTRA[release.name]), install)


@pytest.fixture(scope="session")
def built(release: Release) -> Iterator[Built]:
    directory = TREE / "build" / "packages" / release.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    ccache = CACHE / "ccache"
    ccache.mkdir(exist_ok=True)
    with Root(release, "build", build_layer(release), mounts=((TREE, SOURCE, True), (ccache, CCACHE, False))) as root:
        log = root.output(f"{SOURCE}/scripts/deb", OUT, timeout=BUILD_TIMEOUT_S, PATH="/usr/lib/ccache:/usr/sbin:/usr/bin",
                          CCACHE_DIR=CCACHE, CCACHE_MAXSIZE="2G", DEB_BUILD_OPTIONS="parallel=2 noautodbgsym")
        (directory / "build.log").write_text(log)
        for path in (root.path / OUT.lstrip("/")).iterdir():
            if path.is_file():
                shutil.copy(path, directory)
        yield Built(root, directory)


def fresh_root(release: Release, built: Built, name: str, *layers: Path) -> Root:
    """A root with the packages in /srv/deb, and none of them installed."""
    return Root(release, name, *layers, mounts=((built.directory, OUT, True), (TREE, SOURCE, True)))


@pytest.fixture(scope="session")
def host(release: Release, built: Built) -> Iterator[Root]:
    """A fresh root in which apt has installed guidecopy and what it depends on."""
    with fresh_root(release, built, "host") as root:
        root.install(f"{OUT}/{built.package('guidecopy').name}")
        yield root


@pytest.fixture(scope="session")
def dkms_host(release: Release, built: Built) -> Iterator[Root]:
    """A root that had the headers of the release's kernel, in which apt has installed guidecopy-dkms."""
    # openssl: without it dkms does not sign.
    packages = ("linux-headers-amd64", "openssl")
    layer = release.layer("headers", " ".join(packages), lambda root: root.install(*packages))
    with fresh_root(release, built, "dkms", layer) as root:
        root.install(f"{OUT}/{built.package('guidecopy-dkms').name}")
        yield root
