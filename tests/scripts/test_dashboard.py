# SPDX-License-Identifier: GPL-2.0-or-later
"""The Grafana dashboard asks for metrics that there are, and its panels do not overlap."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
DASHBOARD: dict[str, Any] = json.loads((TREE / "docs" / "operations" / "grafana.json").read_text())
REFERENCE = (TREE / "docs" / "reference" / "metrics.md").read_text()


def known() -> set[str]:
    """The names of all samples."""
    names: set[str] = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", REFERENCE, re.M):
        names |= {name + suffix for suffix in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names


def expressions() -> list[str]:
    queries = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return queries + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_metrics_exist() -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\bguidecopy_\w+", expression)}
    assert len(asked) > 8
    assert asked <= known(), asked - known()


def test_counters_are_asked_for_their_increase() -> None:
    """Only that means something: the counter itself begins anew with its file."""
    for expression in expressions():
        for name in re.findall(r"\bguidecopy_\w+_(?:total|bucket)\b", expression):
            assert re.search(rf"(?:rate|increase)\({name}\{{|label_values\({name},", expression), expression


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in itertools.combinations(places, 2):
        assert (a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]), (a, b)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
