# SPDX-License-Identifier: GPL-2.0-or-later
"""--compress: the VM finds its memory as it was, whatever becomes of the connections, and fewer bytes are sent."""

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE, Report
from gclab.proxy import Proxy
from gclab.testbed import Migration, Testbed
from gclab.vm import PAGE_SIZE, WORK_MIB, Spec
from test_recover import Recovery, kill
from test_tls import write_psk

METHODS = ("lz4", "zstd")
ONE_UNDER_SANITIZERS = pytest.mark.parametrize("method", [pytest.param("lz4", marks=pytest.mark.long), "zstd"])
# Memory that shrinks as much of a VM's does: by a half with lz4, by more with zstd.
TYPICAL = Spec(ram_mib=96, append=f"mode=check size={WORK_MIB}M cold=40M")
NOISE = TYPICAL.but(append=f"{TYPICAL.append} noise=1")


def check_memory(migration: Migration) -> None:
    migration.destination.wait_running(passes=2)
    migration.destination.check()
    migration.source.check()


def bytes_of_memory(report: Report) -> int:
    """What the pages would have taken that were sent with their data, without those of ROMs and firmware."""
    pages: dict[str, int] = report["pages"]
    return (pages["total"] - pages["zero"]) * PAGE_SIZE


@pytest.mark.parametrize("method", METHODS)
def test_memory_that_shrinks(testbed: Testbed, method: str, guide: str) -> None:
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", method, guide=guide)
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    compress = report["compress"]
    assert compress["mode"] == method and compress["reason"] == ""
    assert compress["sent"] < 0.65 * compress["bytes"]
    assert compress["bytes"] > 0.8 * bytes_of_memory(report)
    assert compress["cpu_ms"] > 0
    assert report["bytes"]["total"] < 0.7 * bytes_of_memory(report)


@ONE_UNDER_SANITIZERS
def test_memory_that_does_not(testbed: Testbed, method: str) -> None:
    migration = testbed.migrate(testbed.start_source(NOISE), NOISE, "--compress", method)
    report = migration.wait_completed(NOISE)
    check_memory(migration)
    assert report["compress"]["bytes"] < 0.3 * bytes_of_memory(report), "the firmware's, and few others"
    assert report["compress"]["cpu_ms"] > 0, "all of it was tried"


@pytest.mark.parametrize("when", ["switch-over", "resumed"])
@ONE_UNDER_SANITIZERS
def test_connections_break(testbed: Testbed, when: str, method: str) -> None:
    """What was on its way is sent again, and is the same."""
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", method, "--bandwidth", "4M", proxy={})
    migration.migrate.wait_event(when)
    assert migration.proxy
    migration.proxy.reset()
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    assert report["connection_losses"] >= 1
    assert report["compress"]["bytes"] > 0


@pytest.mark.parametrize("what", [pytest.param("silent", marks=pytest.mark.long), "flipped", "reset bulk"])
def test_the_network_fails(testbed: Testbed, what: str) -> None:
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", "zstd", "--bandwidth", "2M", proxy={})
    migration.migrate.wait_event("resumed")
    proxy = migration.proxy
    assert isinstance(proxy, Proxy)
    if what == "silent":
        proxy.silence(3)
    elif what == "flipped":
        proxy.flip(50_000)
    else:
        proxy.reset("bulk")
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    assert report["connection_losses"] >= 1


def test_gcctls_killed(testbed: Testbed) -> None:
    """What was compressed and not taken is sent by the recovery, as it is."""
    source = testbed.start_source(TYPICAL)
    source.make_vcpus_nice()
    migration = testbed.migrate(source, TYPICAL, "--compress", "zstd", "--bandwidth", "1M")
    migration.migrate.wait_event("resumed")
    kill(migration, "migrate", "receive")
    recovery = Recovery(testbed, migration.source, migration.destination)
    migrate, receive = recovery.both()
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert receive.wait(20 * SLOW) == EXIT_DONE, receive.errors()
    check_memory(migration)


def test_encrypted(testbed: Testbed) -> None:
    psk = write_psk(testbed.directory, "keys.psk", "5a" * 32)
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", "lz4", "--tls-psk", psk,
                                receive_options=("--tls-psk", psk))
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    assert report["security"]["protection"] == "tls"
    assert report["compress"]["sent"] < 0.65 * report["compress"]["bytes"]


@pytest.mark.parametrize("method", [pytest.param("auto", marks=pytest.mark.long), "zstd"])
def test_a_peer_of_version_8_is_sent_nothing_compressed(testbed: Testbed, method: str) -> None:
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", method, proxy={"newest": 8})
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    assert report["compress"]["bytes"] == 0
    assert "older" in report["compress"]["reason"]
    assert report["bytes"]["total"] >= bytes_of_memory(report)


def test_auto_on_a_slow_link(testbed: Testbed) -> None:
    """It compresses by itself, and pages that the VM waits for, too."""
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", "auto", proxy={"rate": 2_000_000})
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    compress = report["compress"]
    assert compress["mode"] == "auto"
    assert compress["bytes"] > 0.5 * bytes_of_memory(report)
    assert compress["sent"] < 0.65 * compress["bytes"]
    assert report["pages"]["urgent"] > 0
    # Until buffers are full, no link looks slow: how many of them are sent as they are depends on how busy the host is.
    assert report["bytes"]["urgent"] < report["pages"]["urgent"] * PAGE_SIZE


def test_auto_with_a_bandwidth(testbed: Testbed) -> None:
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", "auto", "--bandwidth", "4M")
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    assert report["bytes"]["total"] < 0.7 * bytes_of_memory(report)


@pytest.mark.lab
def test_precopy(testbed: Testbed) -> None:
    migration = testbed.migrate(testbed.start_source(TYPICAL), TYPICAL, "--compress", "zstd", "--precopy-rounds", "1",
                                guide="on")
    report = migration.wait_completed(TYPICAL)
    check_memory(migration)
    assert report["pages"]["precopy"] > 0.5 * report["pages"]["total"]
    assert report["bytes"]["precopy"] < 0.7 * bytes_of_memory(report)
