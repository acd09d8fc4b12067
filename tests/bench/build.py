#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures the developer's loop in a clean clone of HEAD, with a cold compiler cache, and compares it with its goals.

usage: build.py [--demo] [--out FILE]

CPU seconds are user + system of everything that the command started. Wall times are of this machine and its load.
--demo   also time `make demo` from another clean clone, which takes minutes
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
# Changes nothing but what the compiler reads: ccache would answer for a comment.
EDIT = "static_assert(true);\n"


@dataclass
class Step:
    what: str
    command: list[str]
    goal: float  # seconds
    of: str = "cpu"  # what the goal is for: cpu or wall
    prepare: Callable[[Path], None] = lambda _: None


@dataclass
class Taken:
    cpu: float
    wall: float


def edit(path: str) -> Callable[[Path], None]:
    def append(clone: Path) -> None:
        with (clone / path).open("a") as file:
            file.write(EDIT)
    return append


STEPS = [
    # Several sources to a unit, as `make check` and `make demo` build a fresh clone.
    Step("full build with tests", ["make", "userspace", "DEV=dev-once"], 480),
    Step("the module and the guests", ["make", "kmod", "guests"], float("inf")),
    Step("then a unit per source, once", ["make"], float("inf")),
    Step("no-op", ["make"], 0.5),
    Step("page_sender.cpp edited, its tests answered", ["make", "check", "T=Sender"], 6,
         prepare=edit("userspace/src/transfer/page_sender.cpp")),
    Step("migration.cpp edited, gcctl linked", ["make", "gcctl"], 8, prepare=edit("userspace/src/migrate/migration.cpp")),
    Step("util/units.h edited, all built", ["make", "userspace"], float("inf"), prepare=edit("userspace/src/util/units.h")),
]
DEMO = Step("clean clone to the demo's result", ["make", "demo"], 240, of="wall")


def clone_to(directory: Path) -> Path:
    clone = directory / "guidecopy"
    subprocess.run(["git", "clone", "--quiet", TREE, clone], check=True)
    return clone


def take(step: Step, clone: Path) -> Taken:
    step.prepare(clone)
    environment = {**os.environ, "CCACHE_DIR": str(clone.parent / "ccache")}
    environment.pop("GC_PRESET", None)  # of other benchmarks: a developer's is the default
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(step.command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=3600, check=False)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(step.command)} failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Taken(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def row(step: Step, taken: Taken) -> dict[str, object]:
    value = taken.cpu if step.of == "cpu" else taken.wall
    return {"workload": step.what, "mode": "make", "metric": f"{step.of} time", "unit": "s", "median": round(value, 2),
            "min": round(value, 2), "max": round(value, 2), "n": 1,
            "ratio": None if step.goal == float("inf") else round(value / step.goal, 3)}


def show(step: Step, taken: Taken) -> None:
    goal = "" if step.goal == float("inf") else f"{step.goal:g} ({step.of})"
    missed = (taken.cpu if step.of == "cpu" else taken.wall) > step.goal
    print(f"{step.what:<44}{taken.cpu:>9.1f}{taken.wall:>9.1f}   {goal}{'  MISSED' if missed else ''}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{'':<44}{'CPU, s':>9}{'wall, s':>9}   goal, s")
    for steps in [STEPS, *([[DEMO]] if options.demo else [])]:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
            clone = clone_to(Path(directory))
            for step in steps:
                taken = take(step, clone)
                show(step, taken)
                rows.append(row(step, taken))
    if options.out:
        machine = {"cpu": f"{os.cpu_count()} cores", "kernel": platform.release()}
        options.out.write_text(json.dumps({"bench": "build", "reference": "goal", "machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
