# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic policies of migrations: each class is counted, no data is lost, and nothing is left on the NIC."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gclab.testbed import Testbed
from gclab.environment import CMAKE_TREE, GCCTL, SLOW
from gclab.far_host import FarHost
from gclab.network import ip
from gclab.gcctl import EXIT_REFUSED, EXIT_USAGE, run_ok
from gclab.tenants import BulkSender
from gclab.vm import Spec

pytestmark = pytest.mark.lab

SPEC = Spec(ram_mib=128, append="mode=check size=16M")
LINK = ("--policy-link", "400mbit")
OBJECT = CMAKE_TREE / "bpf" / "examples" / "fixed.bpf.o"


@pytest.fixture
def far() -> Iterator[FarHost]:
    host = FarHost()
    yield host
    host.close()


def attached() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run_ok("policy", "show", "--json"))
    return found


def pins() -> list[str]:
    return [path.name for path in Path("/sys/fs/bpf/guidecopy").glob("*")]


def test_a_silent_migration_is_shaped_and_leaves_nothing(testbed: Testbed, far: FarHost) -> None:
    before = far.qdiscs()
    source = testbed.start_source(SPEC)
    tenant = BulkSender(far)
    migration = testbed.migrate(source, SPEC, *LINK, guide="on", far=far)
    try:
        report = migration.wait_completed(SPEC)
    finally:
        sent_by_tenant = tenant.stop()
    migration.destination.wait_running()
    source.check()
    shaped = report["policy"]
    assert (shaped["name"], shaped["device"], shaped["joined"], shaped["reason"]) == ("silent", far.nic, False, "")
    classes = shaped["classes"]
    # Bytes written to a socket pass the NIC in the same class, plus headers; in the urgent class if the VM came to wait
    # for them. The ROMs' pages, which are background, use the guide's channel.
    wire = {name: each["bytes"] for name, each in classes.items()}
    written = report["bytes"]
    assert wire["urgent"] >= written["urgent"] and wire["urgent"] > 0, "the device state at least"
    assert wire["urgent"] + wire["guide"] >= written["urgent"] + written["guide"] and written["guide"] > 0
    assert sum(wire.values()) >= written["total"]
    assert wire["background"] > 0
    # Which of them exceeds its rate depends on how fast the hosts are.
    assert any(classes[name]["delayed"] > 0 for name in ("guide", "warm", "background"))
    assert 0 < shaped["tenants"]["bytes"] <= sent_by_tenant * 1.2
    assert far.qdiscs() == before
    assert attached() == [] and pins() == []


def test_a_migration_joins_an_attached_policy(testbed: Testbed, far: FarHost) -> None:
    run_ok("policy", "attach", "--dev", far.nic, "--policy", "fast", "--link", "1gbit")
    try:
        source = testbed.start_source(SPEC)
        migration = testbed.migrate(source, SPEC, *LINK, far=far)
        report = migration.wait_completed(SPEC)
        assert (report["policy"]["name"], report["policy"]["joined"]) == ("fast", True)
        warnings = [event["message"] for event in migration.migrate.events() if event["event"] == "warning"]
        assert any(f"{far.nic} already has the policy 'fast'" in warning for warning in warnings)
        assert any("--policy-link is ignored" in warning for warning in warnings)
        assert report["policy"]["classes"]["background"]["bytes"] > 0
        assert [each["device"] for each in attached()] == [far.nic]
    finally:
        run_ok("policy", "detach", "--dev", far.nic)
    assert pins() == []


def test_what_the_source_waits_for_is_urgent_at_the_destination(testbed: Testbed, far: FarHost) -> None:
    def policy(*arguments: str) -> str:
        return far.namespace.run(str(GCCTL), "policy", *arguments).stdout

    policy("attach", "--dev", "nic", "--link", "1gbit")
    try:
        migration = testbed.migrate(testbed.start_source(SPEC), SPEC, *LINK, far=far)
        report = migration.wait_completed(SPEC)
        joined = migration.receive.wait_event("policy")
        assert (joined["name"], joined["device"]) == ("silent", "nic")
        classes = json.loads(policy("show", "--dev", "nic", "--json"))[0]["classes"]
        # Each was requested, in 12 bytes and more.
        assert classes["urgent"]["bytes"] > 12 * report["demand"]["faults"] > 0
        assert classes["guide"]["packets"] == classes["warm"]["packets"] == classes["background"]["packets"] == 0
    finally:
        policy("detach", "--dev", "nic")
    assert pins() == []


def test_a_migration_is_shaped_by_a_program_of_the_users(testbed: Testbed, far: FarHost) -> None:
    before = far.qdiscs()
    migration = testbed.migrate(testbed.start_source(SPEC), SPEC, *LINK, "--policy-object", str(OBJECT), far=far)
    report = migration.wait_completed(SPEC)
    migration.destination.wait_running()
    shaped = report["policy"]
    assert (shaped["name"], shaped["device"], shaped["object"], shaped["reason"]) == ("silent", far.nic, str(OBJECT), "")
    assert shaped["classes"]["background"]["bytes"] > 0
    assert far.qdiscs() == before and pins() == []


def test_a_migration_keeps_to_the_program_that_is_attached(testbed: Testbed, far: FarHost) -> None:
    run_ok("policy", "attach", "--dev", far.nic, "--link", "1gbit")
    try:
        migration = testbed.migrate(testbed.start_source(SPEC), SPEC, "--policy-object", str(OBJECT), far=far)
        report = migration.wait_completed(SPEC)
        warnings = [event["message"] for event in migration.migrate.events() if event["event"] == "warning"]
        assert any(f"--policy-object is ignored: {far.nic} already has a policy with gcctl's own" in each for each in warnings)
        assert (report["policy"]["object"], report["policy"]["joined"]) == ("", True)
    finally:
        run_ok("policy", "detach", "--dev", far.nic)


def test_without_a_policy_a_migration_is_unshaped_or_refused(testbed: Testbed, far: FarHost) -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", far.nic, "root", "tbf", "rate", "1gbit", "burst", "128k",
                    "latency", "50ms"], check=True, timeout=10 * SLOW)
    before = far.qdiscs()
    source = testbed.start_source(SPEC)
    must = testbed.migrate(source, SPEC, "--policy-required", far=far)
    assert must.migrate.wait() == EXIT_REFUSED
    assert "tbf" in must.migrate.errors()
    source.check()
    report = testbed.migrate(source, SPEC, far=far).wait_completed(SPEC)
    assert report["policy"]["device"] == "" and "tbf" in report["policy"]["reason"]
    assert far.qdiscs() == before and pins() == []


def test_a_nic_of_unknown_speed_is_not_shaped(testbed: Testbed, far: FarHost) -> None:
    """Such as virtio-net's. A bridge without ports reports no speed, either."""
    ip("link", "add", "gc-mute", "type", "bridge")
    try:
        ip("link", "set", "gc-mute", "up")
        source = testbed.start_source(SPEC)
        must = testbed.migrate(source, SPEC, "--policy-dev", "gc-mute", "--policy-required", far=far)
        assert must.migrate.wait() == EXIT_REFUSED
        assert "gc-mute does not report its speed" in must.migrate.errors() and "--policy-link" in must.migrate.errors()
        source.check()
        report = testbed.migrate(source, SPEC, "--policy-dev", "gc-mute", far=far).wait_completed(SPEC)
        assert report["policy"]["device"] == "" and "--policy-link" in report["policy"]["reason"]
        assert pins() == []
    finally:
        ip("link", "del", "gc-mute")


def test_an_invalid_policy_is_refused_before_anything_changes(testbed: Testbed, far: FarHost, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('use = "95%"\nlinks = 5\n')
    source = testbed.start_source(SPEC)
    migration = testbed.migrate(source, SPEC, "--policy", str(tmp_path / "my.toml"), far=far)
    assert migration.migrate.wait() == EXIT_USAGE
    assert "my.toml:2: unknown key links" in migration.migrate.errors()
    missing = testbed.migrate(source, SPEC, "--policy", str(tmp_path / "missing.toml"), far=far)
    assert missing.migrate.wait() == EXIT_USAGE
    assert "missing.toml: No such file" in missing.migrate.errors()
    (tmp_path / "my.bpf.o").write_text("no object")
    no_object = testbed.migrate(source, SPEC, "--policy-object", str(tmp_path / "my.bpf.o"), far=far)
    assert no_object.migrate.wait() == EXIT_USAGE
    assert "--policy-object" in no_object.migrate.errors() and "is not a BPF object" in no_object.migrate.errors()
    source.check()
    assert pins() == []
