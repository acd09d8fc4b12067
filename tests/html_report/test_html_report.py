# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML of gcctl report, as a browser shows it.

Environment variables: GCCTL (default build/bin/gcctl); GC_REPORTS, more files to make a report of, beside the samples.
"""

import copy
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples
from browser import Seen, open_report
from gclab.gcctl import run_ok

GIVEN = [Path(name).resolve() for name in os.environ.get("GC_REPORTS", "").split()]

SENT, WAITS, FAULTS, SPEED = ("What was sent, by class", "How long the VM waited for a page", "Demand faults over time",
                              "Throughput over time")
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs gcctl report."""
    def made(data: samples.Json, name: str = "report") -> Path:
        source, report = tmp_path / f"{name}.json", tmp_path / f"{name}.html"
        source.write_text(json.dumps(data))
        run_ok("report", str(source), "-o", str(report))
        return report

    return made


@pytest.fixture
def see(make: Make) -> Callable[..., Seen]:
    """Makes a report, opens it, and checks what holds for all of them."""
    def seen(data: samples.Json, **how: Any) -> Seen:
        found = open_report(make(data), **how)
        check(found)
        return found

    return seen


def check(seen: Seen) -> None:
    """No error, and each chart has its axes, its lines or bars, a description and a table."""
    assert seen.told["problems"] == []
    assert "could not be made" not in seen.text
    assert seen.told["title"] in seen.text
    for chart in seen.told["charts"]:
        assert all(chart["axes"]) or chart["title"] == SENT, f"{chart['title']}: an axis has no title"
        assert any(one["drawn"] for one in chart["sets"]), f"{chart['title']}: no data"
        assert len(chart["label"]) > len(chart["title"]) + 10, f"{chart['title']}: no description"
        assert chart["rows"] > 0, f"{chart['title']}: no table below"
        # One line may hide another, but not all of them.
        pixels = [seen.pixels(chart, one["color"]) for one in chart["sets"] if one["drawn"]]
        assert max(pixels) > 100, f"{chart['title']}: {pixels}"
        assert sum(count > 20 for count in pixels) > len(pixels) / 2, f"{chart['title']}: {pixels}"


def drawn(chart: dict[str, Any]) -> dict[str, str]:
    """The colour of each line, or kind of bar, by name."""
    return {one["name"]: one["color"] for one in chart["sets"] if one["drawn"]}


if GIVEN:
    @pytest.mark.parametrize("path", GIVEN, ids=[path.name for path in GIVEN])
    def test_given(path: Path, see: Callable[..., Seen]) -> None:
        see(json.loads(path.read_text()), height=8000)


def test_migration(see: Callable[..., Seen]) -> None:
    seen = see(samples.migration())
    assert [chart["title"] for chart in seen.told["charts"]] == [SENT, WAITS, FAULTS]
    colors = set(drawn(seen.chart(SENT)).values())
    assert len(colors) == len(samples.PAGE_CLASSES)
    assert all(seen.pixels(seen.chart(SENT), color) > 20 for color in colors)
    for told in ("completed", "guide-copy", "41.7 ms", "18.4 s", "1,044", "912 ms", "1.02 ms", "8.19 ms", "32.8 ms", "677 MiB",
                 "96.2 %", "20,113", "321", "silent", "my.bpf.o", "tenants", "17 (1.78 KiB, 2 arp, 15 ipv4)",
                 "4,321, 5 dropped", "59 of 60, 1 dead", "NIC 'b'", "765 (96 KiB)", "764", "NIC 'c'"):
        assert told in seen.text, told


def test_older_report(see: Callable[..., Seen]) -> None:
    data = samples.migration()
    for later in ("forward", "next", "hot", "policy", "measured"):
        del data[later]
    for part, later in (("demand", "timeline"), ("guide", "sent"), ("guide", "load_ms"), ("guide", "waited_ms"),
                        ("guide", "memory_bytes"), ("guide", "mirror"), ("pages", "warm"), ("bytes", "warm")):
        del data[part][later]
    seen = see(data)
    assert [chart["title"] for chart in seen.told["charts"]] == [SENT, WAITS]
    assert "This report does not tell when they were" in seen.text
    assert "Traffic policy" not in seen.told["headings"]
    assert "undefined" not in seen.text
    assert "NaN" not in seen.text


def test_simulated_migration(see: Callable[..., Seen]) -> None:
    seen = see(samples.simulated())
    assert "Simulated migration by guide-copy" in seen.text
    for told in ("no VM was moved", "vm.trace", "10 Gbit/s, round trip 50 µs", "1,234", "12.5 ms"):
        assert told in seen.text, told


def test_failed_migration(see: Callable[..., Seen]) -> None:
    """A report with nothing but the reason."""
    none = samples.classes()
    data: samples.Json = {**samples.migration(), "result": "failed", "error": "the destination refused the state",
                          "pages": none, "bytes": none, "measured": None}
    data["demand"] = {"faults": 0, "stall_ms": 0, "p50_us": 0, "p99_us": 0, "p999_us": 0, "histogram_us": [0] * 24,
                      "timeline": {"step_ms": 10, "counts": []}}
    data["guide"] |= {"started": False, "ended": "refused", "reason": "it has a TPM"}
    seen = see(data)
    assert seen.told["charts"] == []
    for told in ("the destination refused the state", "No page was sent.", "It waited for none.", "There were none.",
                 "refused: it has a TPM"):
        assert told in seen.text, told


def test_benchmark(see: Callable[..., Seen]) -> None:
    seen = see(samples.benchmark())
    assert [chart["title"] for chart in seen.told["charts"]] == [SPEED, FAULTS, WAITS, SENT] * 2
    assert seen.told["headings"] == ["pointer chase", "redis"]
    speed = drawn(seen.chart(SPEED))
    assert list(speed) == samples.MODES
    assert len(set(speed.values())) == len(speed), "a colour is used twice"
    for number in (0, 1):
        assert all(seen.pixels(seen.chart(SPEED, number), color) > 100 for color in speed.values())
        for title in (SPEED, FAULTS, WAITS):
            assert drawn(seen.chart(title, number)).items() <= speed.items(), "a mode changes its colour"
    assert list(drawn(seen.chart(WAITS))) == samples.MODES[3:]
    assert "Not of QEMU post-copy, QEMU pre-copy, QEMU post-copy preempt" in seen.text
    for told in ("Median of 3 rounds", "Measured in a virtual machine", "a link of 40 Mbit/s", "×0.83", "1,125 – 1,438",
                 "did not converge within 120 s"):
        assert told in seen.text, told


def test_benchmark_with_rows_only(see: Callable[..., Seen]) -> None:
    seen = see(samples.rows_only())
    assert seen.told["charts"] == []
    assert seen.told["headings"] == ["beside a stream"]
    for told in ("Benchmark: silence", "no migration (reference)", "29 ×0.85", "26.1 – 33.3", "tenant throughput, Mbit/s",
                 "demand faults"):
        assert told in seen.text, told


@pytest.mark.parametrize("without", ["rows", "runs", "both", "success"])
def test_benchmark_without(without: str, see: Callable[..., Seen]) -> None:
    data = samples.benchmark()
    for member in ("rows", "runs"):
        if without in (member, "both"):
            data[member] = []
    if without == "success":
        data["runs"] = [{key: run[key] for key in ("workload", "mode", "round")} | {"error": "it died"} for run in data["runs"]]
    seen = see(data)
    assert ("It has no results" in seen.text) == (without == "both")
    assert len(seen.told["charts"]) == (8 if without == "rows" else 0)
    assert "NaN" not in seen.text
    assert "undefined" not in seen.text
    if without == "success":
        assert "No run tells the workload's speed." in seen.text
        assert "it died" in seen.text


def test_more_modes_than_colours(see: Callable[..., Seen]) -> None:
    data = samples.benchmark()
    slower: list[samples.Json] = []
    for run in data["runs"]:
        slower.append(copy.deepcopy(run) | {"mode": f"{run['mode']}, slower"})
        if not run["error"]:
            slower[-1]["throughput"]["per_s"] = [0.8 * value for value in run["throughput"]["per_s"]]
    seen = see(data | {"rows": [], "runs": data["runs"] + slower})
    assert len(seen.chart(SPEED)["sets"]) == 12


def test_colours_in_the_dark_scheme_and_in_print(see: Callable[..., Seen]) -> None:
    data = samples.migration()
    light, dark, paper = see(data), see(data, dark=True), see(data, dark=True, printing=True)
    assert light.told["surface"] == paper.told["surface"] == "rgb(255, 255, 255)"
    assert dark.told["surface"] == "rgb(20, 23, 26)"
    bars = [drawn(each.chart(WAITS)) for each in (light, dark, paper)]
    assert bars[0] == bars[2] != bars[1]


def test_needs_no_network(make: Make) -> None:
    report = make(samples.benchmark()).read_text()
    # Licence notices contain the addresses of their projects.
    code = re.sub(r"/\*!.*?\*/", "", report, flags=re.DOTALL)
    assert code.count("/*!") == 0
    assert re.findall(r".{0,40}://.{0,40}", code) == []
    assert re.findall(r"<(?:link|img|iframe|object|base)\b|<script[^>]*\bsrc=", code) == []
    assert "default-src 'none'" in report


def test_strings_are_not_markup(see: Callable[..., Seen]) -> None:
    markup = "</script><img src=x onerror='problems.push(1)'><b>&amp;\"'\u2028"

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: poison(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [poison(each, key) for each in value]
        fixed = key in ("schema", "result", "capture", "ended", "dropped_by") or (key, value) in (("mode", "guide"), ("mode", "auto"))
        return f"{value}{markup}" if value and isinstance(value, str) and not fixed else value

    for data in (samples.migration(), samples.benchmark()):
        seen = see(poison(data), height=6000)
        assert markup[:20] in seen.text
        assert not {"img", "script"} & set(seen.told["tags"])
        assert len(seen.told["charts"]) == (3 if "result" in data else 8)


def test_same_output_for_the_same_input(make: Make) -> None:
    assert make(samples.benchmark(), "one").read_bytes() == make(samples.benchmark(), "other").read_bytes()


def test_browser_is_installed() -> None:
    assert shutil.which("chromium"), "no chromium; run make deps"
