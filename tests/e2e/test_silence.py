# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic policies around a migration: what is shaped is counted, nobody loses a byte, nothing is left on the NIC."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.bench import Bench
from harness.environment import GCCTL, SLOW
from harness.far_host import FarHost, ip
from harness.gcctl import EXIT_REFUSED, EXIT_USAGE
from harness.tenant import Tenant
from harness.vm import Spec

pytestmark = pytest.mark.lab

SPEC = Spec(ram_mib=128, append="mode=check size=16M")
LINK = ("--policy-link", "400mbit")


@pytest.fixture
def far() -> Iterator[FarHost]:
    host = FarHost()
    yield host
    host.close()


def policy(*arguments: str) -> str:
    return subprocess.run([GCCTL, "policy", *arguments], check=True, capture_output=True, text=True, timeout=10 * SLOW).stdout


def attached() -> list[dict[str, Any]]:
    return json.loads(policy("show", "--json"))


def pins() -> list[str]:
    return [path.name for path in Path("/sys/fs/bpf/guidecopy").glob("*")]


def test_a_silent_migration_is_shaped_and_leaves_nothing(bench: Bench, far: FarHost, guide: str) -> None:
    before = far.qdiscs()
    source = bench.start_source(SPEC)
    tenant = Tenant(far)
    migration = bench.migrate(source, SPEC, *LINK, guide=guide, far=far)
    try:
        report = migration.wait_completed(SPEC)
    finally:
        sent_by_tenant = tenant.stop()
    migration.destination.wait_running()
    source.check()
    shaped = report["policy"]
    assert (shaped["name"], shaped["device"], shaped["joined"], shaped["reason"]) == ("silent", far.nic, False, "")
    classes = shaped["classes"]
    # What was written to a socket went through the NIC as this class, with headers on top; or as urgent, where the VM came
    # to wait for it. The ROMs' pages, background too, go by the guide's channel.
    wire = {name: each["bytes"] for name, each in classes.items()}
    written = report["bytes"]
    assert wire["urgent"] >= written["urgent"] and wire["urgent"] > 0, "the device state at least"
    assert wire["urgent"] + wire["guide"] >= written["urgent"] + written["guide"] and (written["guide"] > 0 or guide == "off")
    assert sum(wire.values()) >= written["total"]
    assert wire["background"] > 0 and classes["background"]["delayed"] > 0
    assert 0 < shaped["tenants"]["bytes"] <= sent_by_tenant * 1.2
    assert far.qdiscs() == before
    assert attached() == [] and pins() == []


def test_a_migration_joins_the_policy_that_is_there(bench: Bench, far: FarHost) -> None:
    policy("attach", "--dev", far.nic, "--policy", "fast", "--link", "1gbit")
    try:
        source = bench.start_source(SPEC)
        migration = bench.migrate(source, SPEC, *LINK, far=far)
        report = migration.wait_completed(SPEC)
        assert (report["policy"]["name"], report["policy"]["joined"]) == ("fast", True)
        warnings = [event["message"] for event in migration.migrate.events() if event["event"] == "warning"]
        assert any(f"{far.nic} has the policy 'fast' already" in warning for warning in warnings)
        assert any("--policy-link is not heeded" in warning for warning in warnings)
        assert report["policy"]["classes"]["background"]["bytes"] > 0
        assert [each["device"] for each in attached()] == [far.nic]
    finally:
        policy("detach", "--dev", far.nic)
    assert pins() == []


def test_what_cannot_be_shaped_goes_unshaped_unless_it_must_be(bench: Bench, far: FarHost) -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", far.nic, "root", "tbf", "rate", "1gbit", "burst", "128k",
                    "latency", "50ms"], check=True, timeout=10 * SLOW)
    before = far.qdiscs()
    source = bench.start_source(SPEC)
    must = bench.migrate(source, SPEC, "--policy-required", far=far)
    assert must.migrate.wait() == EXIT_REFUSED
    assert "tbf" in must.migrate.errors()
    source.check()
    report = bench.migrate(source, SPEC, far=far).wait_completed(SPEC)
    assert report["policy"]["device"] == "" and "tbf" in report["policy"]["reason"]
    assert far.qdiscs() == before and pins() == []


def test_a_nic_that_does_not_say_its_speed_is_not_shaped(bench: Bench, far: FarHost) -> None:
    """As virtio-net's does not. Neither does a bridge without ports."""
    ip("link", "add", "gc-mute", "type", "bridge")
    try:
        ip("link", "set", "gc-mute", "up")
        source = bench.start_source(SPEC)
        must = bench.migrate(source, SPEC, "--policy-dev", "gc-mute", "--policy-required", far=far)
        assert must.migrate.wait() == EXIT_REFUSED
        assert "gc-mute does not say how fast it is" in must.migrate.errors() and "--policy-link" in must.migrate.errors()
        source.check()
        report = bench.migrate(source, SPEC, "--policy-dev", "gc-mute", far=far).wait_completed(SPEC)
        assert report["policy"]["device"] == "" and "--policy-link" in report["policy"]["reason"]
        assert pins() == []
    finally:
        ip("link", "del", "gc-mute")


def test_a_policy_that_is_none_is_refused_before_anything_is_touched(bench: Bench, far: FarHost, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('use = "95%"\nlinks = 5\n')
    source = bench.start_source(SPEC)
    migration = bench.migrate(source, SPEC, "--policy", str(tmp_path / "my.toml"), far=far)
    assert migration.migrate.wait() == EXIT_USAGE
    assert "my.toml:2: there is no key links" in migration.migrate.errors()
    missing = bench.migrate(source, SPEC, "--policy", str(tmp_path / "missing.toml"), far=far)
    assert missing.migrate.wait() == EXIT_USAGE
    assert "missing.toml: No such file" in missing.migrate.errors()
    source.check()
    assert pins() == []
