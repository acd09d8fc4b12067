# SPDX-License-Identifier: GPL-2.0-or-later
"""make check builds what its stages run."""

import re
import subprocess

from gclab.environment import BIN, TREE
from gclab.stages import stages

NAMED_IN_TESTS = re.compile(r'\bBIN / "(\w+)"')


def test_the_programs_of_the_stages_are_built() -> None:
    rules = subprocess.run(["make", "-n", "lab-programs"], cwd=TREE, capture_output=True, text=True, check=True, timeout=60).stdout
    built = set(rules.split())
    of_stages = {word.removeprefix(f"{BIN}/") for stage in stages() if stage.usual for word in stage.command if word.startswith(f"{BIN}/")}
    of_tests = {name for path in (TREE / "tests").rglob("*.py") for name in NAMED_IN_TESTS.findall(path.read_text())}
    assert "module_test" in of_stages and "policy_user" in of_tests
    assert of_stages | of_tests <= built
