# SPDX-License-Identifier: GPL-2.0-or-later
"""End-to-end tests of gcctl with real QEMUs and self-checking guests.

In the lab (scripts/lab), where each takes far longer, those marked `lab` use KVM and guidecopy.ko, and so do those
marked `both` that have a guide: without one, the lab shows nothing that the bare host does not. Elsewhere all but those marked `lab`
use QEMU's TCG, with guides captured by userfaultfd. A lab whose kernel runs SELinux runs those marked `selinux` alone.
With another GC_NETWORK than the default, all tests of the VM's network run, and no others.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gclab.environment import GCCTL, GUEST, GUIDE_MODES, IN_LAB, MODULE, MODULE_PARAMETERS, NETWORK, SLOW
from gclab.qemu import DESTINATION_QEMU, SOURCE_QEMU, release
from gclab.tap_network import TapNetwork
from gclab.testbed import Testbed


SELINUX = Path("/sys/fs/selinux")


def pytest_configure(config: pytest.Config) -> None:
    for path, target in ((GCCTL, "userspace"), (GUEST, "guests")):
        if not path.exists():
            pytest.exit(f"{path} does not exist; run make {target}", returncode=4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    between_releases = release(SOURCE_QEMU) != release(DESTINATION_QEMU)

    def runs_here(item: pytest.Item) -> bool:
        marks = {mark.name for mark in item.iter_markers()}
        # It has no versions: what one release sends is nothing that another one promises to load.
        if between_releases and "microvm" in item.name:
            return False
        # That kernel runs no AppArmor, and a policy that is enforced stays.
        if "selinux" in marks or SELINUX.exists():
            return "selinux" in marks and SELINUX.exists()
        if NETWORK != "bridge":
            return "network" in getattr(item, "fixturenames", ())
        if not IN_LAB:
            return "lab" not in marks
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        return "lab" in marks or ("both" in marks and parameters.get("guide") != "off")

    left_out = [item for item in items if not runs_here(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "guide" in metafunc.fixturenames:
        # Without a guide it is another's repetition, for which sanitizers have no time.
        metafunc.parametrize("guide", [pytest.param(mode, marks=[pytest.mark.long] if mode == "off" else []) for mode in GUIDE_MODES],
                             ids=[f"guide-{mode}" for mode in GUIDE_MODES])


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]  # it is untyped
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # the plugin manager sends a Result
    testbed = getattr(item, "funcargs", {}).get("testbed")
    if report.when == "call" and report.failed and testbed:
        report.sections.append(("logs", testbed.describe()))


@pytest.fixture
def testbed() -> Iterator[Testbed]:
    testbed = Testbed()
    yield testbed
    testbed.close()


@pytest.fixture
def without_module() -> Iterator[None]:
    subprocess.run(["rmmod", "guidecopy"], check=True, timeout=10 * SLOW)
    yield
    subprocess.run(["insmod", str(MODULE), *MODULE_PARAMETERS], check=True, timeout=10 * SLOW)


@pytest.fixture
def network(testbed: Testbed) -> Iterator[TapNetwork]:
    network = TapNetwork(testbed.directory.name[-4:], 18)
    network.create()
    yield network
    testbed.close()  # QEMU holds the taps
    network.delete()
