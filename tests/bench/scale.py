#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How do migrations behave on links and with VMs that are not available here? Simulated from one trace, without the lab.

Varies one parameter at a time: the link, the memory, the load, the number of VMs that migrate at once, the round trip,
the tenants' rate. Each with post-copy and with a guide. Writes --out and, with the same name, the table (.md).
The dated results are below docs/results.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from gclab.figures import Row, Values, machine, rows  # noqa: E402
from gclab.gcctl import run_ok  # noqa: E402

TRACE = Path("build/bench/simulate/redis.trace")
# How many times faster hardware is than the lab's emulated CPU (an assumption, see docs/results/2026-11-25-scale.md).
SPEED = 40
BASE = {"--link": "25gbit", "--rtt": "50us", "--memory": "64G", "--load": "16", "--vms": "1", "--policy": "silent",
        "--speed": str(SPEED)}
MODES: dict[str, dict[str, str]] = {"post-copy": {"--guide": "off"}, "guide": {}}
METRICS = ("vCPU waited", "asked for", "stall p99", "sent as guide", "migration")
SWEEPS = {
    "link, Gbit/s": ("--link", {f"{rate}": f"{rate}gbit" for rate in (1, 10, 25, 40, 100)}),
    "memory, GiB": ("--memory", {f"{size}": f"{size}G" for size in (4, 16, 64, 256, 1024)}),
    "loads side by side": ("--load", {f"{load}": f"{load}" for load in (1, 4, 16, 64)}),
    "VMs at once": ("--vms", {f"{vms}": f"{vms}" for vms in (1, 10, 50)}),
    "round trip, us": ("--rtt", {f"{rtt}": f"{rtt}us" for rtt in (10, 50, 500, 5000)}),
    "tenants, Gbit/s of 25": ("--tenants", {f"{rate}": f"{rate}gbit" for rate in (5, 15, 25)}),
}


def simulate(trace: Path, options: dict[str, str]) -> dict[str, Any]:
    arguments = [word for option in options.items() for word in option]
    found: dict[str, Any] = json.loads(run_ok("simulate", str(trace), "--json", *arguments, timeout=600))
    return found


def metrics(report: dict[str, Any]) -> dict[str, tuple[str, float]]:
    demand, simulated = report["demand"], report["simulated"]
    touched = simulated["touched"] * simulated["vms"]
    return {"vCPU waited": ("ms, each", simulated["waited_ms"] / simulated["vcpus"]),
            "asked for": ("% of touched", 100 * demand["faults"] / touched), "stall p99": ("us", demand["p99_us"]),
            "sent as guide": ("MiB, each VM", report["bytes"]["guide"] / (1 << 20) / simulated["vms"]),
            "migration": ("s", report["total_ms"] / 1000)}


def table(made: list[Row]) -> str:
    """A Markdown table with a line for each value of a parameter."""
    cells = {(row["workload"], row["mode"], row["metric"]): row["median"] for row in made}
    lines = ["| | vCPU waited: post-copy, ms | guide, ms | ratio | asked for: post-copy | guide "
             "| stall p99: post-copy, us | guide, us | sent as guide, MiB | migration, s |", "|---" * 10 + "|"]
    for point in dict.fromkeys(row["workload"] for row in made):
        without, guided = ({metric: cells[point, mode, metric] for metric in METRICS} for mode in MODES)
        waited, asked, p99 = ([one[metric] for one in (without, guided)] for metric in METRICS[:3])
        lines.append(f"| {point} | {waited[0]:.0f} | {waited[1]:.1f} | {waited[1] / waited[0]:.2f} "
                     f"| {asked[0]:.0f} % | {asked[1]:.0f} % | {p99[0]:.0f} | {p99[1]:.0f} "
                     f"| {guided['sent as guide']:.0f} | {guided['migration']:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--trace", type=Path, default=TRACE,
                        help=f"recorded by gcctl record --mode order (default: {TRACE}, from make bench-simulate)")
    arguments = parser.parse_args()
    values: Values = {}
    begin = time.monotonic()
    for sweep, (option, points) in SWEEPS.items():
        for point, value in points.items():
            for mode, more in MODES.items():
                report = simulate(arguments.trace, BASE | more | {option: value})
                for metric, (unit, figure) in metrics(report).items():
                    values[f"{sweep}: {point}", mode, metric] = (unit, [float(figure)])
    made = rows(values, "post-copy")
    result = {"bench": "scale", "reference": "post-copy", "machine": machine(), "rows": made}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(table(made))
    print(table(made))
    print(f"{len(values) // len(METRICS)} migrations simulated in {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
