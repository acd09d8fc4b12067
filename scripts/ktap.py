# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what KUnit suites print (KTAP, Documentation/dev-tools/ktap.rst of Linux) from a kernel's log, as Linux 6.1 prints it when
a module with suites is loaded: neither a version nor a plan for all suites, but for each a name, a plan, its cases and its result.
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

STAMP = re.compile(r"^\[ *\d+\.\d+\] ?")
SUBTEST = re.compile(r"^    # Subtest: (\S+)$")
PLAN = re.compile(r"^    1\.\.(\d+)$")
# " - " until 6.1, none later; distributions have taken the change back to 6.1.
CASE = re.compile(r"^    (ok|not ok) (\d+) (?:- )?(\S+)(?: # (SKIP|TODO)\b ?(.*))?$")
RESULT = re.compile(r"^(ok|not ok) \d+ (?:- )?(\S+?)(?: # (?:SKIP|TODO).*)?$")


@dataclass
class Case:
    name: str
    failure: str = ""  # what was said, if it failed
    skipped: str = ""


@dataclass
class Suite:
    name: str
    plan: int | None = None
    result: str | None = None
    cases: list[Case] = field(default_factory=list)

    def problem(self) -> str:
        """Why what was printed is not a whole suite, or nothing."""
        if self.plan is None:
            return "no plan"
        if len(self.cases) != self.plan:
            return f"{self.plan} cases announced, {len(self.cases)} reported"
        if self.result is None:
            return "no result"
        if (self.result == "ok") == any(case.failure for case in self.cases):
            return f"its result is '{self.result}', its cases say otherwise"
        return ""


def read(log: str) -> list[Suite]:
    suites: list[Suite] = []
    open_suite: Suite | None = None
    said: list[str] = []
    for raw in log.splitlines():
        line = STAMP.sub("", raw.rstrip())
        if match := SUBTEST.match(line):
            open_suite = Suite(match[1])
            suites.append(open_suite)
            said = []
        elif open_suite is None:
            continue
        elif match := PLAN.match(line):
            # Parameterised cases say no plan; a second one would be another's.
            if open_suite.plan is None:
                open_suite.plan = int(match[1])
        elif match := CASE.match(line):
            case = Case(match[3])
            if match[1] == "not ok":
                case.failure = "\n".join(said) or "not ok"
            if match[4] == "SKIP":
                case.skipped = match[5] or "skipped"
            open_suite.cases.append(case)
            said = []
        elif (match := RESULT.match(line)) and match[2] == open_suite.name:
            open_suite.result = match[1]
            open_suite = None
        else:
            said.append(line)
    return suites


def junit(log: str, expected: list[str]) -> ElementTree.ElementTree:
    """One test case each, and a failed one for each suite that is not whole, not there, or there twice."""
    root = ElementTree.Element("testsuites")
    suites = read(log)
    for name in expected + [suite.name for suite in suites if suite.name not in expected]:
        found = [suite for suite in suites if suite.name == name]
        element = ElementTree.SubElement(root, "testsuite", name=name)
        problem = found[0].problem() if len(found) == 1 else f"expected once in the kernel's log, there {len(found)} times"
        for case in found[0].cases if found else []:
            shown = ElementTree.SubElement(element, "testcase", classname=name, name=case.name)
            if case.failure:
                ElementTree.SubElement(shown, "failure", message="not ok").text = case.failure
            elif case.skipped:
                ElementTree.SubElement(shown, "skipped", message=case.skipped)
        if problem:
            shown = ElementTree.SubElement(element, "testcase", classname=name, name="whole")
            ElementTree.SubElement(shown, "failure", message=problem)
    return ElementTree.ElementTree(root)
