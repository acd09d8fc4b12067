# SPDX-License-Identifier: GPL-2.0-or-later
"""What gcctl leaves for Prometheus, as Prometheus' own library reads it."""

from gclab.gcctl import EXIT_REFUSED, run
from gclab.prometheus import metrics, value
from gclab.testbed import Testbed
from gclab.vm import Spec


def test_both_ends_count_a_migration(testbed: Testbed) -> None:
    """In one file, which a refused migration changes, too."""
    spec = Spec()
    file = testbed.directory / "gcctl.prom"
    option = ("--metrics-file", str(file))
    migration = testbed.migrate(testbed.start_source(spec), spec, *option, receive_options=option)
    report = migration.wait_completed(spec)
    samples = metrics(file)
    waits = sum(report["demand"]["histogram_us"])
    for role in ("source", "destination"):
        assert value(samples, "guidecopy_migrations_total", role=role, result="completed") == 1
        assert value(samples, "guidecopy_last_migration_success", role=role) == 1
        assert value(samples, "guidecopy_demand_stall_seconds_count", role=role) == waits
        assert value(samples, "guidecopy_demand_stall_seconds_bucket", role=role, le="+Inf") == waits
        assert value(samples, "guidecopy_last_migration_demand_faults", role=role) == report["demand"]["faults"]
    assert value(samples, "guidecopy_last_migration_sent_bytes") == report["bytes"]["total"]
    assert value(samples, "guidecopy_sent_bytes_total", **{"class": "background"}) == report["bytes"]["background"]
    assert abs(value(samples, "guidecopy_last_migration_downtime_seconds") - report["downtime_ms"] / 1000) < 1e-6

    refused = run("migrate", "--qmp", str(testbed.directory / "no.qmp"), "--to", "127.0.0.1:1", *option)
    assert refused.returncode != 0
    samples = metrics(file)
    assert sum(value(samples, "guidecopy_migrations_total", role="source", result=result) for result in ("refused", "failed")) == 1
    assert value(samples, "guidecopy_migrations_total", role="source", result="completed") == 1
    assert value(samples, "guidecopy_last_migration_success", role="source") == 0
    assert value(samples, "guidecopy_last_migration_success", role="destination") == 1


def test_file_of_another_kind_is_refused(testbed: Testbed) -> None:
    file = testbed.directory / "report.json"
    file.write_text("{}\n")
    done = run("migrate", "--qmp", "/no.qmp", "--to", "127.0.0.1:1", "--metrics-file", str(file))
    assert done.returncode == EXIT_REFUSED and "cannot write metrics" in done.stderr
    assert file.read_text() == "{}\n"
