# SPDX-License-Identifier: GPL-2.0-or-later
"""What JUnit XML says of the tests that ran, added up over files and stages."""

import textwrap
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

MAX_REASON = 600  # characters
MAX_NAMES = 5  # of tests that were skipped for one reason


@dataclass
class Count:
    passed: int = 0
    failures: list[str] = field(default_factory=list)  # a test or stage each, with the reason
    skips: dict[str, list[str]] = field(default_factory=dict)  # names by reason

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def skipped(self) -> int:
        return sum(map(len, self.skips.values()))

    @property
    def ran(self) -> int:
        return self.passed + self.failed + self.skipped

    def add(self, other: "Count") -> None:
        self.passed += other.passed
        self.failures += other.failures
        for reason, names in other.skips.items():
            self.skips.setdefault(reason, []).extend(names)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def explained(self) -> list[str]:
        """A line for each reason to skip, then one for each failure: the last lines are those that are seen."""
        lines = []
        for reason, names in self.skips.items():
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            lines.append(f"skipped {', '.join(names[:MAX_NAMES])}{more}: {reason}")
        return lines + [f"FAILED  {failure}" for failure in self.failures]


def one_line(text: str) -> str:
    return textwrap.shorten(" ".join(text.split()), MAX_REASON)


def reason_of(broken: ElementTree.Element) -> str:
    """As far as the test says it."""
    said = one_line(broken.get("message") or broken.text or "")
    return f": {said}" if said else ""


def read(path: Path, counted: frozenset[str] | None = None) -> Count:
    """@param counted: CLASS.NAME of the test cases that matter; None: all of them"""
    count = Count()
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}".lstrip(".")
        if counted is not None and name not in counted:
            continue
        skipped = case.find("skipped")
        broken = [why for why in (case.find("failure"), case.find("error")) if why is not None]
        if broken:
            count.failures.append(f"{name}{reason_of(broken[0])}")
        elif skipped is not None or case.get("status") in ("notrun", "disabled"):
            reason = one_line(skipped.get("message", "")) if skipped is not None else "disabled"
            count.skips.setdefault(reason, []).append(name)
        else:
            count.passed += 1
    return count
