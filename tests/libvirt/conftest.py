# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of VMs that libvirt owns, between two real libvirtds on this host, with QEMU's TCG; in the lab with KVM."""

from collections.abc import Iterator

import pytest
from gclab.environment import GCCTL, GUEST, IN_LAB
from gclab.libvirt_hosts import LibvirtHosts, missing


def pytest_configure(config: pytest.Config) -> None:
    for path, target in ((GCCTL, "userspace"), (GUEST, "guests")):
        if not path.exists():
            pytest.exit(f"{path} does not exist; run make {target}", returncode=4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if bool(item.get_closest_marker("lab")) != IN_LAB]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]  # it is untyped
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # the plugin manager sends a Result
    hosts = getattr(item, "funcargs", {}).get("hosts")
    if report.when == "call" and report.failed and hosts:
        report.sections.append(("logs", hosts.describe()))


@pytest.fixture(scope="session")
def pair() -> Iterator[LibvirtHosts]:
    if reason := missing():
        pytest.skip(reason)
    pair = LibvirtHosts()
    yield pair
    pair.close()


@pytest.fixture
def hosts(pair: LibvirtHosts) -> Iterator[LibvirtHosts]:
    """Without VMs."""
    yield pair
    pair.clear()
