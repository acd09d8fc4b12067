# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks' files have in common: rows of figures, the machine, tables."""

import itertools
import math
import os
import platform
import statistics
from pathlib import Path
from typing import Any

# Of one metric: its unit, and the value of each run, by workload, mode and metric.
Values = dict[tuple[str, str, str], tuple[str, list[float]]]
Row = dict[str, Any]


def rows(values: Values, reference: str) -> list[Row]:
    """`ratio` is the median over the reference mode's of the same workload."""
    made = []
    for (workload, mode, metric), (unit, found) in values.items():
        median = statistics.median(found)
        _, against = values.get((workload, reference, metric), ("", []))
        base = statistics.median(against) if against else 0
        made.append({"workload": workload, "mode": mode, "metric": metric, "unit": unit, "median": median,
                     "min": min(found), "max": max(found), "n": len(found), "ratio": median / base if base else None})
    return made


def table(made: list[Row], workload: str, reference: str) -> str:
    """Markdown: medians, and their ratios to the reference, a line for each mode."""
    mine = [row for row in made if row["workload"] == workload]
    names = list(dict.fromkeys((row["metric"], row["unit"]) for row in mine))
    cells = {(row["mode"], row["metric"]): row for row in mine}
    lines = [f"| {workload} | " + " | ".join(f"{metric}{f', {unit}' if unit else ''}" for metric, unit in names) + " |",
             "|---" * (len(names) + 1) + "|"]
    for mode in dict.fromkeys(row["mode"] for row in mine):
        line = [mode]
        for metric, _ in names:
            row = cells.get((mode, metric))
            ratio = f" ({row['ratio']:.2f})" if row and row["ratio"] is not None and mode != reference else ""
            line.append(f"{row['median']:.1f}{ratio}" if row else "")
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def quantile_us(counts: list[int], q: float) -> int:
    """The upper bound of the bucket that holds it (0 < q <= 1), of those that gcctl and QEMU have: the i-th counts what took
    2^i to 2^(i+1) us. 0 if nothing was counted."""
    wanted = math.ceil(q * sum(counts))
    return next((2 << i for i, seen in enumerate(itertools.accumulate(counts)) if seen >= wanted > 0), 0)


def machine() -> dict[str, Any]:
    """Where it was measured. `virtual`: figures of time say little about hardware."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in cpuinfo if line.startswith("model name")), "unknown")
    vendor = Path("/sys/class/dmi/id/sys_vendor")
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "virtual": "QEMU" in model or (vendor.exists() and vendor.read_text().startswith("QEMU"))}
