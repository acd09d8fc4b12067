# SPDX-License-Identifier: GPL-2.0-or-later
"""guidecopy-dkms: dkms builds the module from it for each of scripts/kernels, and the module loads in the lab. With
GC_FETCHED_KERNEL=7.2, it does so for that kernel of scripts/fetch-kernel instead.

dkms runs on this machine and writes below build/dkms only: its options move its trees there, and a private mount does
so for /var/lib/dkms, where it keeps its signing key whatever the options. tests/packages installs the package with apt.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
BUILD = TREE / "build"
WORK = BUILD / "dkms"
MODULES = WORK / "installed" / "lib" / "modules"


def run(*command: object, timeout: int = 300) -> str:
    done = subprocess.run([str(word) for word in command], cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}{build_logs() if 'build' in command else ''}"
    return done.stdout


def build_logs() -> str:
    return "".join(f"\n{path}:\n{path.read_text()}" for path in WORK.glob("tree/**/make.log"))


VERSION = run(TREE / "scripts" / "version").strip()
# The directory of the fetched kernel: its headers, modules and compiler are there.
FETCHED = Path(run(TREE / "scripts" / "fetch-kernel", os.environ["GC_FETCHED_KERNEL"]).splitlines()[-1]) \
    if "GC_FETCHED_KERNEL" in os.environ else None
KERNELS = [(FETCHED / "release").read_text().strip()] if FETCHED else run(TREE / "scripts" / "kernels").split()


def dkms(action: str, *options: str) -> str:
    own_state = f'mount --bind "{WORK}/state" /var/lib/dkms && exec "$@"'
    if FETCHED:
        # Its program to sign with is where dkms does not look for one.
        own_state = f'PATH="{FETCHED}/bin:$PATH"; mount --bind "{WORK}/framework" /etc/dkms/framework.conf.d && {own_state}'
        options += ("--kernelsourcedir", str(FETCHED / "build"))
    unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    return run(*unshare, "sh", "-c", own_state, "sh", "/usr/sbin/dkms", action, "-m", "guidecopy", "-v", VERSION,
               "--dkmstree", WORK / "tree", "--sourcetree", WORK / "root" / "usr" / "src",
               "--installtree", MODULES, *options)


@pytest.fixture(scope="module")
def package() -> Path:
    """The package's content, as installed; dkms knows it."""
    shutil.rmtree(WORK, ignore_errors=True)
    for directory in (WORK / "state", WORK / "tree", WORK / "framework", MODULES):
        directory.mkdir(parents=True)
    (WORK / "framework" / "sign.conf").write_text(f'sign_file="{FETCHED}/build/scripts/sign-file"\n')
    deb = run(TREE / "scripts" / "deb", "-A", WORK / "deb").splitlines()[-1]
    run("dpkg-deb", "-x", deb, WORK / "root")
    run("dpkg-deb", "-e", deb, WORK / "control")
    dkms("add")
    return WORK / "root"


def test_kernels() -> None:
    assert KERNELS, "scripts/kernels found no kernel with its headers; run scripts/deps"


def test_files(package: Path) -> None:
    """What Kbuild needs, and nothing outside the source's directory but documentation."""
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    source = f"usr/src/guidecopy-{VERSION}/"
    assert all(name.startswith((source, "usr/share/doc/guidecopy-dkms/")) for name in files), files
    assert {f"{source}include/uapi/guidecopy.h", f"{source}kmod/Kbuild", f"{source}kmod/main.c",
            f"{source}kmod/check-tracepoint"} <= files
    configuration = (package / source / "dkms.conf").read_text()
    assert 'AUTOINSTALL="yes"' in configuration
    assert f'PACKAGE_VERSION="{VERSION}"' in configuration


def test_scripts() -> None:
    for name in ("postinst", "prerm"):
        script = WORK / "control" / name
        assert os.access(script, os.X_OK)
        assert "guidecopy" in script.read_text() and VERSION in script.read_text()
        run("sh", "-n", script)


def root_with(kernel: str) -> Path:
    """A root whose lib/modules has the kernel's own modules, and updates of its own for dkms."""
    modules = MODULES / kernel
    modules.mkdir()
    for name in ("kernel", "modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (modules / name).symlink_to((FETCHED or Path("/")) / "lib/modules" / kernel / name)
    return MODULES.parents[1]


@pytest.mark.parametrize("kernel", KERNELS)
def test_module(package: Path, kernel: str) -> None:
    root = root_with(kernel)
    dkms("build", "-k", kernel)
    dkms("install", "-k", kernel, "--no-depmod")  # its depmod would be for the real root
    run("depmod", "-b", root, kernel)
    built = list((MODULES / kernel / "updates" / "dkms").glob("guidecopy.ko*"))
    assert len(built) == 1, f"dkms installed {built}"
    about = {field: run("modinfo", "-F", field, built[0]).strip() for field in ("version", "depends", "vermagic", "sig_id")}
    assert about["version"] == VERSION
    assert "kvm" in about["depends"].split(",")
    assert about["vermagic"].split()[0] == kernel
    assert about["sig_id"] == "PKCS#7", "dkms did not sign the module"
    in_lab = f"""set -ex
        modprobe -r kvm_amd kvm_intel kvm
        test ! -e /sys/module/kvm
        modprobe -d {shlex.quote(str(root))} guidecopy
        test -e /sys/module/kvm
        test "$(cat /sys/module/guidecopy/version)" = {VERSION}
        test -c /dev/guidecopy
        rmmod guidecopy
        test ! -e /dev/guidecopy"""
    boot = ("--kernel-dir", FETCHED) if FETCHED else ("--kernel", kernel)
    run(TREE / "scripts" / "lab", *boot, "--no-nested", "--timeout", 200, "--log", WORK / f"{kernel}.console",
        "--", "sh", "-c", in_lab)
