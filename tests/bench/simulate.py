#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How accurate is gcctl simulate? Runs in the lab with guidecopy.ko loaded, as root.

A trace of each workload is recorded in a VM of its own. Then the workload is migrated over a slow link, with a guide and
without, and the same migrations are simulated from the trace. The model's parameters are measured in the same run: the
time of a request on an idle path (in a migration that holds its background), and for each migration its downtime, the
guide's load time, and the number of zero pages. No parameter is fitted to the compared figures.

Writes --out and, with the same name, the tables (.md) and a directory with the traces and the measurements, from which
--again simulates once more without the lab. The directory also has a trace of redis, for scale.py.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from trial import run  # noqa: E402
from workloads import Workload, workloads  # noqa: E402

from gclab.far_host import FarHost, Switch  # noqa: E402
from gclab.figures import Values, machine, rows, table  # noqa: E402
from gclab.gcctl import EXIT_DONE, run_ok  # noqa: E402
from gclab.movers import Mover, gcctl  # noqa: E402
from gclab.testbed import Testbed  # noqa: E402

LINK_MBIT = 10
RECORDED = 25  # seconds
# Seconds of the trace at which the simulated VM switches over: a real one does so at any point of the workload's pass.
PHASES = (0, 2, 4, 6, 8)
MODES: dict[str, Mover] = {"gc-off": gcctl("--policy", "none", guide="off"), "gc-guide": gcctl("--policy", "none")}
HELD = 15  # seconds
IDLE = gcctl("--policy", "none", "--hold-background", f"{HELD}s", guide="off")
NAMES = ("pointer chase", "sequential", "fresh allocation")
ONLY_RECORDED = "redis"
MEASURED = "measured.json"
Json = dict[str, Any]


def workload_named(name: str) -> Workload:
    return next(workload for workload in workloads(LINK_MBIT) if workload.name == name)


def record(workload: Workload, trace: Path) -> None:
    far, testbed, load = FarHost(f"{LINK_MBIT}mbit"), Testbed(), workload.load()
    try:
        source = load.start(testbed, far)
        made = testbed.directory / "trace"
        recording = testbed.gcctl("record", "--qmp", source.gcctl_qmp(), "--mode", "order", "--for", f"{RECORDED}s",
                                  "--interval", "1s", "-o", str(made))
        assert recording.wait(RECORDED + 20) == EXIT_DONE, recording.errors()
        trace.write_bytes(made.read_bytes())
    finally:
        load.end()
        testbed.close()
        far.close()


def measure(workload: Workload, mover: Mover) -> Json:
    """The figures that are compared, and the model's parameters."""
    trial = run(workload, mover, LINK_MBIT)
    report = trial.report
    return {"faults": report["demand"]["faults"], "stall_ms": report["demand"]["stall_ms"],
            "migration_s": trial.over - trial.stop, "downtime_ms": report["downtime_ms"],
            "load_ms": report["guide"]["load_ms"], "pages": report["pages"]["total"], "zeros": report["pages"]["zero"],
            "sent": report["pages"]}


def simulate(trace: Path, mode: str, measured: Json, costs: tuple[str, ...], at: int) -> Json:
    # The model takes the trace's pages for data, and --zeros is the share of zero pages among the others.
    touched = simulated_report(trace, "--guide", "off")["simulated"]["touched"]
    zeros = min(1.0, measured["zeros"] / max(1, measured["pages"] - touched))
    guide = "on" if mode == "gc-guide" else "off"
    report = simulated_report(
        trace, "--guide", guide, "--link", f"{LINK_MBIT}mbit", "--rtt", "0us", "--policy", "none",
        "--queue", Switch.QUEUE, "--burst", "32K", *costs, "--at", f"{at}s",
        "--downtime", f"{measured['downtime_ms']}ms", "--load-cost", f"{measured['load_ms']}ms", "--zeros", f"{100 * zeros}%")
    return {"faults": report["demand"]["faults"], "stall_ms": report["demand"]["stall_ms"],
            "migration_s": report["total_ms"] / 1000}


def simulated_report(trace: Path, *options: str) -> Json:
    found: Json = json.loads(run_ok("simulate", str(trace), "--json", *options, timeout=120))
    return found


def run_lab(names: list[str], rounds: int, traces: Path) -> None:
    traces.mkdir(parents=True, exist_ok=True)
    idle = measure(workload_named(NAMES[0]), IDLE)
    print(f"an idle path: {idle}", file=sys.stderr, flush=True)
    found: Json = {"machine": machine(), "idle": idle, "runs": []}
    for name in names:
        record(workload_named(name), traces / f"{name.replace(' ', '-')}.trace")
        for number in range(rounds if name != ONLY_RECORDED else 0):
            for mode, mover in MODES.items():
                measured = measure(workload_named(name), mover)
                print(f"round {number + 1}, {name}, {mode}: {measured}", file=sys.stderr, flush=True)
                found["runs"].append({"workload": name, "mode": mode, "measured": measured})
                (traces / MEASURED).write_text(json.dumps(found, indent=1) + "\n")


def compare(found: Json, traces: Path) -> Values:
    idle = found["idle"]
    # At so few pages per second the link's burst covers each one, so none waits for the link. After the hold, only zero
    # pages were left to place.
    serve = idle["stall_ms"] / max(1, idle["faults"])
    install = (idle["migration_s"] * 1000 - idle["downtime_ms"] - HELD * 1000) / idle["sent"]["background"]
    costs = ("--serve-cost", f"{serve:.3f}ms", "--install-cost", f"{install:.4f}ms", "--fault-cost", "0us")
    units = {"faults": ("demand faults", ""), "stall_ms": ("stall", "ms"), "migration_s": ("migration", "s")}
    values: Values = {}
    for one in found["runs"]:
        trace = traces / f"{one['workload'].replace(' ', '-')}.trace"
        simulated = [simulate(trace, one["mode"], one["measured"], costs, at) for at in PHASES]
        for mode, all_figures in (("measured", [one["measured"]]), ("simulated", simulated)):
            for key, (metric, unit) in units.items():
                _, of_metric = values.setdefault((f"{one['workload']}, {one['mode']}", mode, metric), (unit, []))
                of_metric += [float(figures[key]) for figures in all_figures]
    values["an idle path", "measured", "a request"] = ("ms", [serve])
    values["an idle path", "measured", "a page placed"] = ("ms", [install])
    return values


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workload", action="append", choices=[*NAMES, ONLY_RECORDED], help="only these")
    parser.add_argument("--again", action="store_true", help="only simulate, from the measurements of an earlier run")
    arguments = parser.parse_args()
    traces = arguments.out.with_suffix("")
    begin = time.monotonic()
    if not arguments.again:
        run_lab(arguments.workload or [*NAMES, ONLY_RECORDED], arguments.rounds, traces)
    found = json.loads((traces / MEASURED).read_text())
    values = compare(found, traces)
    made = rows(values, "measured")
    result = {"bench": "simulate", "reference": "measured", "link_mbit": LINK_MBIT, "machine": found["machine"], "rows": made}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    tables = "\n".join(table(made, name, "measured") for name in dict.fromkeys(row["workload"] for row in made))
    arguments.out.with_suffix(".md").write_text(tables)
    print(tables)
    errors = [abs(row["ratio"] - 1) for row in made if row["mode"] == "simulated" and row["ratio"] is not None]
    if errors:
        print(f"error: median {100 * statistics.median(errors):.0f} %, at most {100 * max(errors):.0f} % "
              f"of {len(errors)} figures; {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
