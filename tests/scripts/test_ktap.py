# SPDX-License-Identifier: GPL-2.0-or-later
"""gclab.ktap: an incomplete or contradictory log is not a success."""

import xml.etree.ElementTree as ElementTree

import pytest
from gclab import ktap

# As Debian 12's Linux 6.1 prints it, with other messages in between.
GOOD = """
[    0.100000] KTAP version 1
[    0.100000] 1..0
[    0.180000]     KTAP version 1
[    0.180000]     # Subtest: first
[    0.180000]     1..3
[    0.180000]     ok 1 one
[    0.180000]     KTAP version 1
[    0.180000]     # Subtest: with_parameters
[    0.180000]         ok 1 A
[    0.180000]         ok 2 B
[    0.180000]     # with_parameters: pass:2 fail:0 skip:0 total:2
[    0.180000]     ok 2 with_parameters
[    0.180000]     ok 3 three # SKIP no such thing here
[    0.180000] # first: pass:2 fail:0 skip:1 total:3
[    0.180000] ok 1 first
"""
GOOD = GOOD.replace("[    0.180000]     KTAP version 1\n[    0.180000]     # Subtest: with", "[    0.180000]         KTAP version 1\n"
                    "[    0.180000]         # Subtest: with")


def child(case: ElementTree.Element, name: str) -> ElementTree.Element:
    found = case.find(name)
    assert found is not None
    return found


def failures(log: str, expected: list[str] | None = None) -> list[str]:
    tree = ktap.junit(log, expected or ["first"])
    return [f"{case.get('name')}: {child(case, 'failure').get('message')}" for case in tree.iter("testcase")
            if case.find("failure") is not None]


def test_complete_suite_passes() -> None:
    assert failures(GOOD) == []
    cases = list(ktap.junit(GOOD, ["first"]).iter("testcase"))
    assert [case.get("name") for case in cases] == ["one", "with_parameters", "three"]
    assert child(cases[2], "skipped").get("message") == "no such thing here"


def test_dash_of_older_kernels() -> None:
    assert failures(GOOD.replace("ok 1 one", "ok 1 - one").replace("ok 1 first", "ok 1 - first")) == []


def test_failed_case_has_its_messages() -> None:
    log = GOOD.replace("    ok 1 one", "    # one: EXPECTATION FAILED at x.c:1\n[    0.180000]     not ok 1 one")
    assert failures(log.replace("ok 1 first", "not ok 1 first")) == ["one: not ok"]
    text = next(ktap.junit(log, ["first"]).iter("failure")).text
    assert text and "EXPECTATION FAILED at x.c:1" in text


@pytest.mark.parametrize("gone", ["1..3", "ok 1 one", "ok 1 first", "# Subtest: first"])
def test_missing_line(gone: str) -> None:
    assert failures("\n".join(line for line in GOOD.splitlines() if gone not in line)) != []


def test_crash_in_the_middle() -> None:
    assert failures(GOOD[:GOOD.index("    ok 2")]) != []


def test_result_contradicts_its_cases() -> None:
    assert failures(GOOD.replace("ok 1 first", "not ok 1 first")) != []
    assert failures(GOOD.replace("    ok 1 one", "    not ok 1 one")) != []


def test_nothing_ran() -> None:
    assert failures("KTAP version 1\n1..0\n") == ["complete: expected once in the kernel's log, found 0 times"]
    assert failures(GOOD, ["first", "second"]) == ["complete: expected once in the kernel's log, found 0 times"]


def test_ran_twice() -> None:
    assert failures(GOOD + GOOD) != []
