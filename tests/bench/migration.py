#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How good is a migration, against unmodified QEMU's? To be run in the lab with guidecopy.ko loaded, as root. Of a lab with
two hosts the second is the destination; with one, both ends share its CPUs.

Every workload is moved over the same slow link in the modes that tell something of it, or with --all in every mode, in rotating
order. A mode that does not complete, or in which the guest finds an error in its memory, fails the run. Writes --out, and beside
it the tables (.md); `gcctl report` makes pictures of it. Metrics are as docs/benchmarks.md defines them.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from figures import Values, machine, rows, table
from movers import Mover, gcctl, qemu_postcopy, qemu_precopy
from trial import Trial, run
from workloads import WORKLOADS, Workload

from harness.environment import TWO_HOSTS

LINK_MBIT = 10
REFERENCE = "qemu-postcopy-preempt"
MODES: dict[str, Mover] = {
    "qemu-precopy": qemu_precopy(),
    "qemu-postcopy": qemu_postcopy(),
    REFERENCE: qemu_postcopy("postcopy-preempt"),
    "gc-off": gcctl("--policy", "none", guide="off"),
    "gc-off-no-next": gcctl("--policy", "none", "--next-pages", "0", guide="off"),
    "gc-guide": gcctl("--policy", "none"),
    "gc-guide-no-next": gcctl("--policy", "none", "--next-pages", "0"),
    "gc-guide-hot": gcctl("--policy", "none", "--hot", "auto"),
    "gc-guide-silent": gcctl("--policy", "silent", "--policy-link", f"{LINK_MBIT}mbit"),
    # With the destination's touches tracked, which costs it page faults.
    "gc-guide-measured": gcctl("--policy", "none", receive_options=("--measure=3s",)),
}
QUICK_WORKLOADS, QUICK_MODES = ("pointer chase", "fresh allocation", "idle"), (REFERENCE, "gc-off", "gc-guide")
# Where not all modes tell something new, or each takes minutes.
CORE_MODES = ("qemu-precopy", "qemu-postcopy", *QUICK_MODES, "gc-guide-silent")
MODES_OF = {"pointer chase": tuple(MODES), "sequential": tuple(MODES), "redis": QUICK_MODES, "build": QUICK_MODES}


def qemu_version() -> str:
    said = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0].removeprefix("QEMU emulator version ")


def measure(workload: Workload, mode: str, number: int) -> tuple[Trial | None, dict[str, Any]]:
    """One trial, and what the file has of it."""
    about = {"workload": workload.name, "mode": mode, "round": number}
    try:
        trial = run(workload, MODES[mode], LINK_MBIT)
    except AssertionError as error:
        print(f"round {number}, {workload.name}, {mode}: FAILED: {error}", file=sys.stderr, flush=True)
        nothing: dict[str, Any] = {"throughput": None, "faults": None, "stall_us": None, "bytes": None}
        return None, about | {"error": str(error).splitlines()[0]} | nothing
    told = ", ".join(f"{metric} {value:.1f} {unit}" for metric, (unit, value) in trial.values.items())
    print(f"round {number}, {workload.name}, {mode}: {told}", file=sys.stderr, flush=True)
    return trial, about | {"error": ""} | trial.series()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="some workloads in some modes, once")
    parser.add_argument("--all", action="store_true", help="every workload in every mode")
    parser.add_argument("--mode", action="append", choices=MODES, help="only these, beside the reference")
    parser.add_argument("--workload", action="append", choices=[workload.name for workload in WORKLOADS], help="only these")
    return parser.parse_args()


def turns(arguments: argparse.Namespace) -> list[tuple[Workload, str]]:
    names = arguments.workload or (QUICK_WORKLOADS if arguments.quick else [workload.name for workload in WORKLOADS])

    def modes(workload: Workload) -> Iterable[str]:
        if arguments.mode:
            return (REFERENCE, *arguments.mode)
        if arguments.all:
            return MODES
        return QUICK_MODES if arguments.quick else MODES_OF.get(workload.name, CORE_MODES)

    return [(workload, mode) for workload in WORKLOADS if workload.name in names for mode in MODES if mode in modes(workload)]


def main() -> int:
    arguments = parse_arguments()
    values: Values = {}
    runs, failed = [], 0
    collected: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    chosen, rounds = turns(arguments), 1 if arguments.quick else arguments.rounds
    for number in range(rounds):
        first = number * len(chosen) // rounds
        for workload, mode in chosen[first:] + chosen[:first]:
            trial, kept = measure(workload, mode, number + 1)
            runs.append(kept)
            failed += trial is None
            for metric, (unit, value) in (trial.values if trial else {}).items():
                key = (workload.name, mode, metric)
                collected[key].append(value)
                values[key] = (unit, collected[key])
    made = rows(values, REFERENCE)
    result = {"schema": "guidecopy.bench/1", "bench": "migration", "reference": REFERENCE, "link_mbit": LINK_MBIT,
              "machine": machine() | {"qemu": qemu_version(), "hosts": 2 if TWO_HOSTS else 1}, "rows": made, "runs": runs}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    tables = "\n".join(table(made, name, REFERENCE) for name in dict.fromkeys(workload.name for workload, _ in chosen))
    arguments.out.with_suffix(".md").write_text(tables)
    print(tables)
    print(f"{len(runs)} migrations, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
