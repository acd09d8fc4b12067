# SPDX-License-Identifier: GPL-2.0-or-later
"""End-to-end tests of gcctl with real QEMUs and self-checking guests.

In the lab (scripts/lab) they use KVM and guidecopy.ko; elsewhere QEMU's TCG, without guides, and those marked `lab`
are left out. Environment: GCCTL (default build/bin/gcctl), GC_GUEST, GC_MODULE.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.bench import Bench  # noqa: E402
from harness.environment import GCCTL, GUEST, GUIDE_MODES, IN_LAB, MODULE, SLOW  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    for path, make in ((GCCTL, "make"), (GUEST, "make guests")):
        if not path.exists():
            pytest.exit(f"there is no {path}; run {make}", returncode=4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if IN_LAB:
        return
    left_out = [item for item in items if item.get_closest_marker("lab")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "guide" in metafunc.fixturenames:
        metafunc.parametrize("guide", GUIDE_MODES, ids=[f"guide-{mode}" for mode in GUIDE_MODES])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    bench = getattr(item, "funcargs", {}).get("bench")
    if report.when == "call" and report.failed and bench:
        report.sections.append(("logs", bench.describe()))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def without_module() -> Iterator[None]:
    subprocess.run(["rmmod", "guidecopy"], check=True, timeout=10 * SLOW)
    yield
    subprocess.run(["insmod", str(MODULE), *os.environ.get("GC_MODULE_PARAMETERS", "").split()], check=True,
                   timeout=10 * SLOW)
