# SPDX-License-Identifier: GPL-2.0-or-later
"""The common parts of the benchmarks' results: rows of figures, the machine, tables."""

import itertools
import math
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from .gcctl import NOT_CLASSES

# By workload, mode and metric: the unit, and the value of each run.
Values = dict[tuple[str, str, str], tuple[str, list[float]]]
Row = dict[str, Any]


def rows(values: Values, reference: str) -> list[Row]:
    """`ratio` is the median divided by that of the reference mode with the same workload."""
    made = []
    for (workload, mode, metric), (unit, found) in values.items():
        median = statistics.median(found)
        against = values.get((workload, reference, metric))
        base = statistics.median(against[1]) if against else 0
        made.append({"workload": workload, "mode": mode, "metric": metric, "unit": unit, "median": median,
                     "min": min(found), "max": max(found), "n": len(found), "ratio": median / base if base else None})
    return made


def table(made: list[Row], workload: str, reference: str) -> str:
    """A Markdown table with a line for each mode: medians, and their ratios to the reference."""
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
    """The upper bound of the bucket that holds quantile q (0 < q <= 1); 0 if all counts are zero.

    The buckets are gcctl's and QEMU's: the i-th counts durations from 2^i to 2^(i+1) us.
    """
    wanted = math.ceil(q * sum(counts))
    return next((2 << i for i, seen in enumerate(itertools.accumulate(counts)) if seen >= wanted > 0), 0)


def machine() -> dict[str, Any]:
    """Where it was measured. If `virtual`, times say little about hardware."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in cpuinfo if line.startswith("model name")), "unknown")
    vendor = Path("/sys/class/dmi/id/sys_vendor")
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "virtual": "QEMU" in model or (vendor.exists() and vendor.read_text().startswith("QEMU"))}


FAULT_STEP = 0.1  # seconds


def transfer_series(report: dict[str, Any], demand: list[tuple[float, int]], stop: float) -> dict[str, Any]:
    """For charts, the part of an element of `runs` that tells of pages. `report` is gcctl's, empty for QEMU's own
    migration; `demand` is when how many pages had been requested in one of QEMU's, which stopped the VM at `stop`."""
    if report:
        return {"faults": report["demand"]["timeline"], "stall_us": report["demand"]["histogram_us"],
                "bytes": {name: count for name, count in report["bytes"].items() if name not in NOT_CLASSES}}
    nothing = {"faults": None, "stall_us": None, "bytes": None}
    if not demand:
        return nothing
    counts = [0] * (max(0, int((demand[-1][0] - stop) / FAULT_STEP)) + 1)
    for (_, was), (when, now) in zip(demand, demand[1:], strict=False):
        counts[max(0, int((when - stop) / FAULT_STEP))] += now - was
    return nothing | {"faults": {"step_ms": round(1000 * FAULT_STEP), "counts": counts}}
