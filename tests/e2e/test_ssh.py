# SPDX-License-Identifier: GPL-2.0-or-later
"""`gcctl migrate --to ssh://...`: one command, no certificates, through a real sshd on another host."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gclab.environment import GCCTL, SLOW
from gclab.far_host import FarHost
from gclab.gcctl import EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, Gcctl, read_report, run
from gclab.sshd import Sshd
from gclab.testbed import Testbed
from gclab.vm import Spec
from gclab.wait import wait_for

SMALL = Spec()


@pytest.fixture
def sshd(testbed: Testbed) -> Iterator[Sshd]:
    far = FarHost()
    try:
        server = Sshd(testbed.new_directory("sshd"), far.address, far.namespace)
        yield server
        server.close()
    finally:
        far.close()


def migrate(testbed: Testbed, sshd: Sshd, source_qmp: str, qmp: str, remote: str = str(GCCTL)) -> tuple[Gcctl, Path]:
    directory = testbed.new_directory("migration")
    report = directory / "report.json"
    gcctl = testbed.gcctl("migrate", "--qmp", source_qmp, "--to", sshd.url(qmp), "--ssh", sshd.command, "--policy", "none",
                          "--guide", "off", "--report", str(report), "--remote-gcctl", remote, directory=directory)
    return gcctl, report


def test_one_command_moves_a_vm(testbed: Testbed, sshd: Sshd) -> None:
    source = testbed.start_source(SMALL)
    destination = testbed.start(SMALL, "destination", incoming=True)
    gcctl, path = migrate(testbed, sshd, source.gcctl_qmp(), destination.gcctl_qmp())
    assert gcctl.wait() == EXIT_DONE, gcctl.errors()
    report = read_report(path)
    assert report["security"]["protection"] == "tls"
    assert "guidecopy-ssh" in report["security"]["peer"]
    destination.wait_running()
    source.check()
    assert not any("insecure" in event for event in gcctl.events())


def test_one_command_finishes_a_migration(testbed: Testbed, sshd: Sshd) -> None:
    """Both gcctls died after the commit."""
    spec = Spec(ram_mib=96, append="mode=check size=40M")
    source = testbed.start_source(spec)
    source.make_vcpus_nice()
    destination = testbed.start(spec, "destination", incoming=True)
    directory = testbed.new_directory("migration")
    options = ("--qmp", source.gcctl_qmp(), "--to", sshd.url(destination.gcctl_qmp()), "--ssh", sshd.command,
               "--remote-gcctl", str(GCCTL))
    gcctl = testbed.gcctl("migrate", *options, "--policy", "none", "--guide", "off", "--bandwidth", "3M",
                          "--reconnect-limit", "1s", directory=directory)  # of both ends
    gcctl.wait_event("resumed")
    gcctl.signal(signal.SIGKILL)
    gcctl.wait()
    wait_for("the destination has noticed", lambda: destination.migration_status() == "postcopy-paused", 20 * SLOW)
    recover = testbed.gcctl("recover", "migrate", *options)
    assert recover.wait() == EXIT_DONE, recover.errors()
    assert destination.migration_status() == source.migration_status() == "completed"
    destination.wait_running()


def test_the_path_is_data_for_the_remote_shell(testbed: Testbed, sshd: Sshd) -> None:
    source = testbed.start_source(SMALL)
    canary = testbed.directory / "canary"
    gcctl, _ = migrate(testbed, sshd, source.gcctl_qmp(), f"/no such'; touch {canary}; echo '$(touch {canary})")
    assert gcctl.wait() == EXIT_REFUSED
    assert not canary.exists()
    assert source.status() == "running"


def test_a_gcctl_that_is_not_there(testbed: Testbed, sshd: Sshd) -> None:
    source = testbed.start_source(SMALL)
    gcctl, _ = migrate(testbed, sshd, source.gcctl_qmp(), "/run/vm.qmp", "/no/gcctl")
    assert gcctl.wait() == EXIT_REFUSED
    assert "--remote-gcctl" in gcctl.errors()
    assert source.status() == "running"


def test_a_host_key_that_is_not_known(testbed: Testbed, sshd: Sshd) -> None:
    source = testbed.start_source(SMALL)
    (sshd.directory / "known_hosts").write_text("")
    gcctl, _ = migrate(testbed, sshd, source.gcctl_qmp(), "/run/vm.qmp")
    assert gcctl.wait() == EXIT_REFUSED
    assert "Host key verification failed" in gcctl.errors()


@pytest.mark.parametrize("target", ["ssh://", "ssh://host", "ssh://host/", "ssh://:22/q", "ssh://host:x/q", "ssh://-oProxyCommand=x/q",
                                    "ssh://user@/q", "ssh://a b/q"])
def test_targets_that_are_none(target: str) -> None:
    done = run("migrate", "--qmp", "/nowhere", "--to", target)
    assert done.returncode == EXIT_USAGE
    assert "ssh://root@host2" in done.stderr
