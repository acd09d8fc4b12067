# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages are built, installed with apt and used in fresh roots of Debian 12 and Debian 13."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import OUT, RELEASES, SOURCE, Built
from roots import TREE, Release, Root

VERSION = subprocess.run([TREE / "scripts" / "version"], capture_output=True, text=True, check=True).stdout.strip()
GUEST = TREE / "build" / "guests" / "memory"
QEMU = {12: (7, 2), 13: (10, 0)}
# A migration each of a VM with one vCPU and with four; that no page goes by pre-copy; RAM in two blocks.
MIGRATIONS = "(test_machine and q35) or test_switched_over_at_once or test_two_ram_backends"


def contents(package: Path) -> dict[str, str]:
    """The mode and owner of each of the package's files, not of directories."""
    listing = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True, timeout=60).stdout
    lines = [line.split(maxsplit=5) for line in listing.splitlines()]
    return {words[5].removeprefix("./").partition(" -> ")[0]: f"{words[0]} {words[1]}" for words in lines if words[0][0] != "d"}


def test_changelog() -> None:
    """debian/changelog has the module's version, which all else takes from kmod/main.c."""
    assert subprocess.run(["dpkg-parsechangelog", "-l", TREE / "debian" / "changelog", "-S", "Version"], capture_output=True, text=True,
                          check=True, timeout=60).stdout.strip() == VERSION


def test_build(built: Built) -> None:
    """Nothing but the packages asked for; the tree was mounted read-only, and git is not among Build-Depends."""
    assert {path.name for path in built.directory.glob("*.deb")} == {f"guidecopy_{VERSION}_amd64.deb", f"guidecopy-dkms_{VERSION}_all.deb"}
    assert not built.root.exists("/usr/bin/git")


def test_contents(built: Built) -> None:
    files = contents(built.package("guidecopy"))
    assert set(files.values()) <= {"-rw-r--r-- root/root", "-rwxr-xr-x root/root", "lrwxrwxrwx root/root"}
    assert files["usr/sbin/gcctl"] == "-rwxr-xr-x root/root"
    for name in ("usr/include/guidecopy/gc_policy.h", "usr/share/guidecopy/examples/fixed.bpf.c", "etc/sysctl.d/60-guidecopy.conf",
                 "usr/lib/sysusers.d/guidecopy.conf", "usr/lib/udev/rules.d/60-guidecopy.rules", "usr/share/man/man8/gcctl.8.gz",
                 "usr/share/bash-completion/completions/gcctl", "etc/default/guidecopy-receive"):
        assert name in files
    source = f"usr/src/guidecopy-{VERSION}/"
    others = {name for name in contents(built.package("guidecopy-dkms")) if not name.startswith(source)}
    assert all(name.startswith("usr/share/doc/guidecopy-dkms/") for name in others), others


def test_lintian(release: Release, built: Built) -> None:
    if not built.root.exists("/usr/bin/lintian"):
        pytest.skip("lintian of Debian 13 checks both packages")
    changes = next(built.directory.glob("*.changes"))
    found = built.root.run("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", f"{OUT}/{changes.name}",
                           timeout=300)
    assert found.returncode == 0, found.stdout


def test_version(host: Root) -> None:
    """gcctl has all that it is linked with, in a root that had none of it before."""
    assert VERSION in host.output("gcctl", "--version")


def test_group(host: Root) -> None:
    assert host.output("getent", "group", "guidecopy").startswith("guidecopy:")


def test_userfaultfd_is_left_alone(host: Root) -> None:
    """The file for sysctl sets nothing until an administrator edits it."""
    lines = (host.path / "etc/sysctl.d/60-guidecopy.conf").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    assert "#vm.unprivileged_userfaultfd = 1" in lines


def doctor(host: Root, *options: str) -> dict[str, tuple[str, str]]:
    """Verdict and finding of each check; the exit status agrees with them."""
    done = host.run("gcctl", "doctor", "--json", *options)
    report = json.loads(done.stdout)
    checks = {check["name"]: (check["verdict"], check["found"]) for check in report["checks"]}
    ready = all(verdict != "lacking" for verdict, _ in checks.values())
    assert report["ready"] == ready
    assert done.returncode == (0 if ready else 1), done.stdout
    return checks


def test_doctor(release: Release, host: Root) -> None:
    """doctor tells what is missing: the module, which a guide does not need, and QEMU, until it is installed."""
    before = doctor(host)
    assert before["module"][0] == "warning"
    assert before["capture"][0] == "ok" and "userfaultfd" in before["capture"][1]
    assert before["kvm"][0] == "lacking"
    assert before["qemu"][0] == "lacking"
    host.install("qemu-system-x86")
    after = doctor(host)
    version = ".".join(map(str, QEMU[RELEASES[release.name]]))
    assert after["qemu"][0] == "ok"
    assert f"version {version}" in after["qemu"][1]
    assert {name for name in before if before[name] != after.get(name)} == {"qemu"}
    doctor(host, "--role", "destination")


def test_migration(host: Root) -> None:
    """The end-to-end tests' own migrations, by the installed gcctl and the release's QEMU under TCG."""
    assert GUEST.exists(), f"there is no {GUEST}: make guests"
    host.install("qemu-system-x86", "python3-jsonschema", "python3-pytest")
    output = host.output("python3", "-m", "pytest", f"{SOURCE}/tests/e2e/test_migration.py", "-v", "--tb=short", "-k", MIGRATIONS,
                         timeout=400, GCCTL="/usr/sbin/gcctl")
    assert " passed" in output and "skipped" not in output, output


def test_purge(host: Root) -> None:
    """The last test of `host`. The group stays: files may belong to it."""
    host.output("apt-get", "purge", "--yes", "guidecopy")
    for path in ("/usr/sbin/gcctl", "/etc/sysctl.d/60-guidecopy.conf", "/usr/share/guidecopy", "/usr/include/guidecopy"):
        assert not host.exists(path)
    host.output("getent", "group", "guidecopy")


def test_dkms(dkms_host: Root) -> None:
    """Installing the package builds the module for the release's kernel, purging it removes the module."""
    kernel = headers(dkms_host)
    state = dkms_host.output("dkms", "status", "guidecopy")
    assert f"guidecopy/{VERSION}, {kernel}, x86_64: installed" in state, state
    modules = dkms_host.path / "lib" / "modules" / kernel / "updates" / "dkms"
    module, = modules.glob("guidecopy.ko*")
    inside = f"/lib/modules/{kernel}/updates/dkms/{module.name}"
    about = {field: dkms_host.output("modinfo", "-F", field, inside).strip() for field in ("version", "depends", "vermagic", "sig_id")}
    assert about["version"] == VERSION
    assert "kvm" in about["depends"].split(",")
    assert about["vermagic"].split()[0] == kernel
    assert about["sig_id"] == "PKCS#7", "dkms did not sign the module"

    dkms_host.output("apt-get", "purge", "--yes", "guidecopy-dkms", timeout=120)
    assert not list(modules.glob("guidecopy.ko*"))
    assert not dkms_host.exists(f"/usr/src/guidecopy-{VERSION}")
    assert not dkms_host.exists("/var/lib/dkms/guidecopy")


def headers(root: Root) -> str:
    """The kernel whose headers are in the root."""
    found = [path.parent.name for path in (root.path / "lib" / "modules").glob("*/build")]
    assert len(found) == 1, found
    return found[0]
