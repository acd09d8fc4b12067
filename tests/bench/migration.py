#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How does a migration compare with unmodified QEMU's? Runs as root, on this host, or in the lab with guidecopy.ko loaded.
In a lab with two hosts the second one is the destination; else a network namespace is, and both ends share the CPUs.

Each workload is migrated over the same slow link in the modes of interest for it, or with --all in every mode, in
rotating order. A migration that does not complete, or whose guest finds an error in its memory, fails the run. A mode
that the installed QEMU lacks is named and left out. Writes --out and, with the same name, the tables (.md) after each
migration; `gcctl report` makes charts of it. docs/internals/benchmarks.md defines the metrics.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from trial import run  # noqa: E402
from workloads import LINK_MBIT, Workload, workloads  # noqa: E402

from gclab import qemu  # noqa: E402
from gclab.environment import IN_LAB, TWO_HOSTS  # noqa: E402
from gclab.figures import Values, machine, rows, table  # noqa: E402
from gclab.movers import Mover, gcctl, qemu_postcopy, qemu_precopy  # noqa: E402
from gclab.network import enter_own_namespaces  # noqa: E402

REFERENCE = "qemu-postcopy-preempt"


def modes(link_mbit: int) -> dict[str, Mover]:
    return {
        "qemu-precopy": qemu_precopy(),
        "qemu-postcopy": qemu_postcopy(),
        REFERENCE: qemu_postcopy("postcopy-preempt"),
        "gc-off": gcctl("--policy", "none", guide="off"),
        "gc-off-no-next": gcctl("--policy", "none", "--next-pages", "0", guide="off"),
        "gc-guide": gcctl("--policy", "none"),
        "gc-guide-userfault": gcctl("--policy", "none", "--capture", "userfault"),
        "gc-guide-no-next": gcctl("--policy", "none", "--next-pages", "0"),
        "gc-guide-hot": gcctl("--policy", "none", "--hot", "auto"),
        "gc-guide-silent": gcctl("--policy", "silent", "--policy-link", f"{link_mbit}mbit"),
        # Tracks the destination's touches, which costs the VM page faults.
        "gc-guide-measured": gcctl("--policy", "none", receive_options=("--measure=3s",)),
    }


MODES = tuple(modes(LINK_MBIT))
# What cannot be measured natively, and why.
LAB_ONLY = {"qemu-precopy": "QEMU's TCG loses pages that are written during pre-copy", "gc-guide-hot": "it needs guidecopy.ko",
            "gc-guide-userfault": "gc-guide is the same without guidecopy.ko", "gc-guide-silent": "it needs a kernel with fq",
            "gc-guide-measured": "it needs guidecopy.ko"}
# Capabilities that not every QEMU has: this one came with 7.1.
NEEDS = {REFERENCE: "postcopy-preempt"}
QUICK_WORKLOADS, QUICK_MODES = ("pointer chase", "fresh allocation", "idle"), (REFERENCE, "gc-off", "gc-guide")
# For workloads of which some modes show nothing new or take minutes.
CORE_MODES = ("qemu-precopy", "qemu-postcopy", *QUICK_MODES, "gc-guide-silent")
MODES_OF = {"pointer chase": MODES, "sequential": MODES, "redis": QUICK_MODES, "build": QUICK_MODES}


class Results:
    """The results so far, and their files."""

    def __init__(self, out: Path, link_mbit: int) -> None:
        self.out = out
        self.link_mbit = link_mbit
        self.movers = modes(link_mbit)
        out.parent.mkdir(parents=True, exist_ok=True)
        self.values: Values = {}
        self.runs: list[dict[str, Any]] = []
        self.machine = machine() | {"qemu": qemu.version(), "hosts": 2 if TWO_HOSTS else 1}

    def measure(self, workload: Workload, mode: str, number: int) -> None:
        about = {"workload": workload.name, "mode": mode, "round": number}
        name = f"round {number}, {workload.name}, {mode}"
        try:
            trial = run(workload, self.movers[mode], self.link_mbit)
        except AssertionError as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr, flush=True)
            nothing: dict[str, Any] = {"throughput": None, "faults": None, "stall_us": None, "bytes": None}
            self.runs.append(about | {"error": str(error).splitlines()[0]} | nothing)
        else:
            told = ", ".join(f"{metric} {value:.1f} {unit}" for metric, (unit, value) in trial.values.items())
            print(f"{name}: {told}", file=sys.stderr, flush=True)
            self.runs.append(about | {"error": ""} | trial.series())
            for metric, (unit, value) in trial.values.items():
                self.values.setdefault((workload.name, mode, metric), (unit, []))[1].append(value)
        self.write()

    def failed(self) -> int:
        return sum(run["error"] != "" for run in self.runs)

    def tables(self) -> str:
        made = rows(self.values, REFERENCE)
        return "\n".join(table(made, name, REFERENCE) for name in dict.fromkeys(run["workload"] for run in self.runs))

    def write(self) -> None:
        result = {"schema": "guidecopy.bench/1", "bench": "migration", "reference": REFERENCE, "link_mbit": self.link_mbit,
                  "machine": self.machine, "rows": rows(self.values, REFERENCE), "runs": self.runs}
        self.out.write_text(json.dumps(result, indent=1) + "\n")
        self.out.with_suffix(".md").write_text(self.tables())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--link", type=int, default=LINK_MBIT, metavar="MBIT", help="rate of the link in Mbit/s (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="some workloads in some modes")
    parser.add_argument("--all", action="store_true", help="every workload in every mode")
    parser.add_argument("--mode", action="append", choices=MODES, help="only these, beside the reference")
    parser.add_argument("--workload", action="append", choices=[workload.name for workload in workloads()], help="only these")
    return parser.parse_args()


def turns(arguments: argparse.Namespace) -> list[tuple[Workload, str]]:
    known = workloads(arguments.link)
    names = arguments.workload or (QUICK_WORKLOADS if arguments.quick else [workload.name for workload in known])

    def wanted(workload: Workload) -> Iterable[str]:
        if arguments.mode:
            return (REFERENCE, *arguments.mode)
        if arguments.all:
            return MODES
        return QUICK_MODES if arguments.quick else MODES_OF.get(workload.name, CORE_MODES)

    has = qemu.migration_capabilities()
    left_out = {mode: f"this QEMU ({qemu.version()}) lacks {needed}" for mode, needed in NEEDS.items() if needed not in has}
    left_out |= {} if IN_LAB else LAB_ONLY
    for mode, reason in left_out.items():
        print(f"{mode} is left out: {reason}", file=sys.stderr, flush=True)
    return [(workload, mode) for workload in known if workload.name in names for mode in MODES
            if mode in wanted(workload) and mode not in left_out]


def main() -> int:
    arguments = parse_arguments()
    enter_own_namespaces()
    results = Results(arguments.out, arguments.link)
    chosen = turns(arguments)
    for number in range(arguments.rounds):
        first = number * len(chosen) // arguments.rounds
        for workload, mode in chosen[first:] + chosen[:first]:
            results.measure(workload, mode, number + 1)
    print(results.tables())
    print(f"{len(results.runs)} migrations, {results.failed()} failed")
    return 1 if results.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
