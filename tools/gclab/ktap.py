# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads KUnit results (KTAP, Documentation/dev-tools/ktap.rst of Linux) from a kernel's log.

This is the format of Linux 6.1 when a module with suites is loaded: no version and no plan for all suites, but for each
suite a name, a plan, its cases and its result.
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

STAMP = re.compile(r"^\[ *\d+\.\d+\] ?")
SUBTEST = re.compile(r"^    # Subtest: (\S+)$")
PLAN = re.compile(r"^    1\.\.(\d+)$")
# " - " up to 6.1, nothing later; distributions have backported the change to 6.1.
CASE = re.compile(r"^    (ok|not ok) (\d+) (?:- )?(\S+)(?: # (SKIP|TODO)\b ?(.*))?$")
RESULT = re.compile(r"^(ok|not ok) \d+ (?:- )?(\S+?)(?: # (?:SKIP|TODO).*)?$")


@dataclass
class Case:
    name: str
    failure: str = ""  # the lines before a failed result
    skipped: str = ""


@dataclass
class Suite:
    name: str
    plan: int | None = None
    result: str | None = None
    cases: list[Case] = field(default_factory=list)

    def problem(self) -> str:
        """Why this is not a complete suite; empty if it is."""
        if self.plan is None:
            return "no plan"
        if len(self.cases) != self.plan:
            return f"{self.plan} cases announced, {len(self.cases)} reported"
        if self.result is None:
            return "no result"
        if (self.result == "ok") == any(case.failure for case in self.cases):
            return f"its result is '{self.result}', which contradicts its cases"
        return ""


def read(log: str) -> list[Suite]:
    """The suites in the log, in order, complete or not."""
    suites: list[Suite] = []
    open_suite: Suite | None = None
    printed: list[str] = []
    for raw in log.splitlines():
        line = STAMP.sub("", raw.rstrip())
        if match := SUBTEST.match(line):
            open_suite = Suite(match[1])
            suites.append(open_suite)
            printed = []
        elif open_suite is None:
            continue
        elif match := PLAN.match(line):
            # A parameterised case prints no plan, so a second plan does not belong to this suite.
            if open_suite.plan is None:
                open_suite.plan = int(match[1])
        elif match := CASE.match(line):
            case = Case(match[3])
            if match[1] == "not ok":
                case.failure = "\n".join(printed) or "not ok"
            if match[4] == "SKIP":
                case.skipped = match[5] or "skipped"
            open_suite.cases.append(case)
            printed = []
        elif (match := RESULT.match(line)) and match[2] == open_suite.name:
            open_suite.result = match[1]
            open_suite = None
        else:
            printed.append(line)
    return suites


def junit(log: str, expected: list[str]) -> ElementTree.ElementTree:
    """A test case for each case, and a failed one for each suite that is incomplete, missing, or there twice."""
    root = ElementTree.Element("testsuites")
    suites = read(log)
    for name in expected + [suite.name for suite in suites if suite.name not in expected]:
        found = [suite for suite in suites if suite.name == name]
        element = ElementTree.SubElement(root, "testsuite", name=name)
        problem = found[0].problem() if len(found) == 1 else f"expected once in the kernel's log, found {len(found)} times"
        for case in found[0].cases if found else []:
            shown = ElementTree.SubElement(element, "testcase", classname=name, name=case.name)
            if case.failure:
                ElementTree.SubElement(shown, "failure", message="not ok").text = case.failure
            elif case.skipped:
                ElementTree.SubElement(shown, "skipped", message=case.skipped)
        if problem:
            shown = ElementTree.SubElement(element, "testcase", classname=name, name="complete")
            ElementTree.SubElement(shown, "failure", message=problem)
    return ElementTree.ElementTree(root)
