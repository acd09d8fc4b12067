# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of the tests that ran."""

from pathlib import Path

from gclab.junit import Count, read

RESULTS = """<testsuites><testsuite>
<testcase classname="Tls" name="passes"/>
<testcase classname="Tls" name="fails"><failure message="expected 1,
  found 2">long</failure></testcase>
<testcase name="breaks"><error>no such file</error></testcase>
<testcase classname="Tls" name="skips"><skipped message="session_test.cpp:52
no TLS"/></testcase>
<testcase classname="Tls" name="skips too"><skipped message="session_test.cpp:52 no TLS"/></testcase>
<testcase classname="Tls" name="off" status="disabled"/>
</testsuite></testsuites>"""


def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.xml"
    path.write_text(RESULTS)
    return path


def test_each_failure_and_each_reason_to_skip_has_a_line(tmp_path: Path) -> None:
    count = read(results(tmp_path))
    assert str(count) == "1 passed, 2 failed, 3 skipped"
    assert count.explained() == [
        "skipped Tls.skips, Tls.skips too: session_test.cpp:52 no TLS",
        "skipped Tls.off: disabled",
        "FAILED  Tls.fails: expected 1, found 2",
        "FAILED  breaks: no such file",
    ]


def test_only_what_is_chosen_counts(tmp_path: Path) -> None:
    assert str(read(results(tmp_path), frozenset({"Tls.passes", "breaks"}))) == "1 passed, 1 failed, 0 skipped"


def test_counts_add_up(tmp_path: Path) -> None:
    total = Count()
    for _ in range(4):
        total.add(read(results(tmp_path)))
    assert str(total) == "4 passed, 8 failed, 12 skipped"
    assert total.explained()[0] == ("skipped Tls.skips, Tls.skips too, Tls.skips, Tls.skips too, Tls.skips and 3 more: "
                                    "session_test.cpp:52 no TLS")
