# SPDX-License-Identifier: GPL-2.0-or-later
"""gclab.named_tests and scripts/check -t: where each kind of test runs and what is built for it."""

import subprocess
from pathlib import Path

import pytest
from gclab import named_tests
from gclab.catalog import Kind, Test
from gclab.environment import SCRIPTS, TREE
from gclab.named_tests import Plan

KERNEL = "6.1.0-test"


@pytest.fixture(autouse=True)
def one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_tests, "kernels", lambda: [KERNEL, "6.12.0-test"])


def plan(*tests: Test, parameters: str = "") -> Plan:
    return named_tests.plan(list(tests), parameters, lambda source: f"{source.parent.name}_test")


def commands(made: Plan) -> list[str]:
    return [" ".join(stage.command).replace(f"{TREE}/", "") for stage in made.stages]


def builds(made: Plan) -> list[str]:
    return [" ".join(command).replace(f"{TREE}/", "") for command in made.build_commands()]


def test_unit_tests_run_here_in_their_programs() -> None:
    made = plan(Test(Kind.UNIT, "Ring", "Wraps", Path("userspace/tests/util/ring_test.cpp")),
                Test(Kind.UNIT, "Frame", "Splits", Path("userspace/tests/peer/frame_test.cpp")))
    assert [command.split(" --gtest_output")[0] for command in commands(made)] == [
        "build/dev/bin/util_test --gtest_filter=Ring.Wraps:*/Ring.Wraps/*", "build/dev/bin/peer_test --gtest_filter=Frame.Splits:*/Frame.Splits/*"]
    (build,) = builds(made)
    assert build.startswith("cmake --build ") and build.endswith("--target util_test peer_test")


def test_kunit_counts_the_chosen_cases_only() -> None:
    made = plan(Test(Kind.KUNIT, "guidecopy-ring", "gc_ring_wraps", Path("kmod/tests/ring_kunit.c")))
    assert made.stages[0].counted == frozenset(["guidecopy-ring.gc_ring_wraps"])
    assert commands(made)[0].startswith("scripts/kunit ") and builds(made) == []


@pytest.mark.parametrize(("suite", "nested"), [("Capture", False), ("Track", True)])
def test_module_tests_run_in_the_lab(suite: str, nested: bool) -> None:
    made = plan(Test(Kind.MODULE, suite, "Works", Path("tests/module/x_test.cpp")))
    (command,) = commands(made)
    assert command.startswith(f"scripts/lab --kernel {KERNEL} ") and ("--no-nested" in command) != nested
    assert f"tests/module/run.sh build/kmod/{KERNEL}/guidecopy.ko build/dev/bin/module_test --gtest_filter={suite}.Works:" in command
    assert builds(made)[0] == f"make -s kmod KERNELS={KERNEL}" and builds(made)[1].endswith("--target module_test")


def test_failure_injection_runs_on_the_debug_kernel() -> None:
    made = plan(Test(Kind.MODULE, "Failure", "OfKzalloc", Path("tests/module/failure_test.cpp")))
    assert commands(made)[0].startswith("scripts/debug-lab ")


def test_bpf_tests_run_in_the_lab() -> None:
    made = plan(Test(Kind.BPF, "Shaper", "Paces", Path("tests/bpf/pace_test.cpp")))
    assert "--no-nested" in commands(made)[0] and "build/dev/bin/bpf_test --gtest_filter=Shaper.Paces:" in commands(made)[0]
    assert len(builds(made)) == 1


def test_end_to_end_tests_run_here_or_in_the_lab() -> None:
    source = Path("tests/e2e/test_migration.py")
    made = plan(Test(Kind.PYTEST, source.stem, "test_machine", source),
                Test(Kind.PYTEST, source.stem, "test_precopy_first", source, lab=True), parameters="[q35]")
    here, lab = commands(made)
    assert here.startswith("/usr/bin/python3 -m pytest tests/e2e/test_migration.py::test_machine[q35] ")
    assert lab.startswith("scripts/lab ") and "test_precopy_first[q35]" in lab and "test_machine" not in lab
    assert builds(made)[0] == f"make -s guests kmod demo-guest KERNELS={KERNEL}" and builds(made)[1].endswith("--target gcctl")


def test_policy_tests_run_in_the_lab() -> None:
    source = Path("tests/policy/test_attach.py")
    made = plan(Test(Kind.PYTEST, source.stem, "test_attach", source))
    assert commands(made)[0].startswith("scripts/lab ")


def test_tests_of_tools_need_no_build() -> None:
    source = Path("tests/scripts/test_ktap.py")
    assert builds(plan(Test(Kind.PYTEST, source.stem, "test_ran_twice", source))) == []


def check(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([SCRIPTS / "check", *arguments], capture_output=True, text=True, timeout=50, check=False)


def test_check_runs_a_named_test() -> None:
    done = check("-t", "test_tests_of_tools_need_no_build")
    assert done.returncode == 0, done.stdout
    assert "test_named_tests::test_tests_of_tools_need_no_build" in done.stdout and "1 passed, 0 failed" in done.stdout


def test_check_suggests_names() -> None:
    done = check("-t", "test_tests_of_tools_need_no_bild")
    assert done.returncode == 2 and "  test_named_tests::test_tests_of_tools_need_no_build\n" in done.stderr


def test_check_refuses_an_unknown_stage() -> None:
    done = check("unti")
    assert done.returncode == 2 and "'unti'" in done.stderr
