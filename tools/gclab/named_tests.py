# SPDX-License-Identifier: GPL-2.0-or-later
"""How to build and run tests that were chosen by name: `make check T=NAME`."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import stages
from .catalog import Kind, Test
from .environment import CMAKE_TREE, kernels, module_for
from .stages import MODULE_DEBUG, MODULE_VMS, Stage

# What the pytests in a directory of tests/ need: targets of CMake.
PYTEST_TARGETS = {"e2e": ["gcctl"], "html_report": ["gcctl"], "policy": ["gcctl", "policy_user", "bpf-examples"]}
LAB_ONLY = ("policy",)  # directories whose pytests all need the lab


class NotPossible(Exception):
    """The tests cannot run here; the text says what to do."""


@dataclass
class Plan:
    """What to build, and the stages that run the tests."""

    stages: list[Stage] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)  # targets of CMake
    make: list[str] = field(default_factory=list)  # targets of make
    kernel: str = ""  # the lab's; empty if no test runs there

    def build_commands(self) -> list[list[str]]:
        commands = []
        if self.make:
            commands.append(["make", "-s", *dict.fromkeys(self.make), *([f"KERNELS={self.kernel}"] if self.kernel else [])])
        if self.programs:
            commands.append(["cmake", "--build", str(CMAKE_TREE), "--target", *dict.fromkeys(self.programs)])
        return commands


def plan(tests: list[Test], parameters: str = "", program_of: Callable[[Path], str] | None = None) -> Plan:
    """How to run these tests. `parameters` such as "[q35-1]" are those of a pytest. `program_of` names the program that a
    unit test's source belongs to; by default, CMake's compilation database does."""
    by_kind: dict[Kind, list[Test]] = defaultdict(list)
    for test in tests:
        by_kind[test.kind].append(test)
    made = Plan()
    _add_units(made, by_kind[Kind.UNIT], program_of or unit_programs())
    if by_kind[Kind.KUNIT]:
        made.stages.append(stages.kunit("named-kunit", frozenset(test.name for test in by_kind[Kind.KUNIT])))
    _add_bpf(made, by_kind[Kind.BPF])
    _add_module(made, by_kind[Kind.MODULE])
    _add_pytests(made, by_kind[Kind.PYTEST], parameters)
    return made


def unit_programs() -> Callable[[Path], str]:
    """A function that looks sources up in the compilation database, which it reads when first called."""
    found: dict[str, str] = {}

    def program_of(source: Path) -> str:
        if not found:
            found.update(_read_programs())
        for path, program in found.items():
            if path.endswith(f"/{source}"):
                return program
        raise NotPossible(f"{source} is in no program of {CMAKE_TREE}; add it to its CMakeLists.txt, then run make userspace")

    return program_of


def _read_programs() -> dict[str, str]:
    """The target of each source: object files are in directories NAME.dir."""
    database = CMAKE_TREE / "compile_commands.json"
    if not database.exists():
        raise NotPossible(f"{database} does not exist; run make userspace once")
    entries = json.loads(database.read_text())
    matches = [(entry["file"], re.search(r" -o \S*?CMakeFiles/([^/ ]+)\.dir/", entry["command"])) for entry in entries]
    return {file: match[1] for file, match in matches if match}


def gtest_filter(tests: list[Test]) -> str:
    """Also for TEST_P, whose names are INSTANCE/SUITE.CASE/PARAMETER."""
    return ":".join(f"{test.name}:*/{test.name}/*" for test in tests)


def _kernel(made: Plan) -> str:
    """The kernel of the lab."""
    if not made.kernel:
        found = kernels()
        if not found:
            raise NotPossible("no kernel for the lab (scripts/kernels prints none); run make deps")
        made.kernel = found[0]
    return made.kernel


def _add_units(made: Plan, tests: list[Test], program_of: Callable[[Path], str]) -> None:
    programs: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        programs[program_of(test.source)].append(test)
    for program, own in programs.items():
        name = f"named-{program}"
        made.programs.append(program)
        made.stages.append(Stage(name, "unit tests", stages.gtest(name, program, gtest_filter(own)), 600))


def _add_bpf(made: Plan, tests: list[Test]) -> None:
    if not tests:
        return
    kernel, name = _kernel(made), "named-bpf"
    made.programs.append("bpf_test")
    made.stages.append(Stage(name, f"BPF programs, in the lab on Linux {kernel}",
                             stages.lab(name, kernel, 300, "--no-nested",
                                        command=stages.gtest(name, "bpf_test", gtest_filter(tests))), 400))


def _add_module(made: Plan, tests: list[Test]) -> None:
    """In up to three labs: without VMs, with VMs, and with failures that are injected."""
    groups: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        groups["debug" if test.group in MODULE_DEBUG else "track" if test.group in MODULE_VMS else "module"].append(test)
    if tests:
        made.programs.append("module_test")
    for group, own in groups.items():
        name, cases = f"named-{group}", gtest_filter(own)
        if group == "debug":
            command = stages.debug_lab(name, 1500, command=stages.module_test(name, module_for("debug"), cases))
            made.stages.append(Stage(name, "the module, in the lab on the debug kernel (built once: 10 minutes)", command, 3000))
            continue
        kernel = _kernel(made)
        made.make.append("kmod")
        command = stages.lab(name, kernel, 900, *(["--no-nested"] if group == "module" else []),
                             command=stages.module_test(name, module_for(kernel), cases))
        made.stages.append(Stage(name, f"the module, in the lab on Linux {kernel}", command, 1000))


def _add_pytests(made: Plan, tests: list[Test], parameters: str) -> None:
    groups: dict[tuple[str, bool], list[Test]] = defaultdict(list)
    for test in tests:
        directory = test.source.parts[1]
        groups[directory, test.lab or directory in LAB_ONLY].append(test)
    for (directory, in_lab), own in groups.items():
        name = f"named-{directory}{'-lab' if in_lab else ''}"
        made.programs += PYTEST_TARGETS.get(directory, [])
        command = stages.pytest_command(name, *(f"{test.source}::{test.case}{parameters}" for test in own))
        where = "here"
        if directory == "e2e":
            made.make.append("guests")
            where = "here, with QEMU's TCG"
        if in_lab:
            kernel = _kernel(made)
            where = f"in the lab on Linux {kernel}"
            options = ["--no-nested"]
            if directory == "e2e":
                made.make += ["kmod", "demo-guest"]
                options = ["--mem", "8G", "--module", str(module_for(kernel))]
            command = stages.lab(name, kernel, 3000, *options, command=command)
        made.stages.append(Stage(name, f"tests/{directory}, {where}", command, 3100))
