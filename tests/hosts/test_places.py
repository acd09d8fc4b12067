# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab of a clone that lies in a directory which the lab hides."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import start_lab, wait_lab
from gclab.environment import TREE
from gclab.lab import HIDDEN

JOB = """
set -e
echo "in $PWD"
test -x scripts/lab
echo kept >build/kept
echo lost >lost
cat lost
test ! -e ../neighbour
"""


@pytest.fixture(params=HIDDEN, ids=str)
def clone(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The part of the source tree that the lab is made of."""
    with tempfile.TemporaryDirectory(prefix="gc-clone-", dir=request.param) as directory:
        tree = Path(directory) / "a clone"
        (Path(directory) / "neighbour").touch()
        for part in ("scripts", "tools"):
            shutil.copytree(TREE / part, tree / part)
        yield tree


def test_the_clone_is_there(clone: Path, log: Path) -> None:
    status, output = wait_lab(start_lab(clone, "--log", str(log), "--", "sh", "-c", JOB))
    assert (status, output) == (0, f"in {clone}\nlost\n")
    assert (clone / "build" / "kept").read_text() == "kept\n"
    assert not (clone / "lost").exists()


@pytest.mark.parametrize("clone", HIDDEN[:1], indirect=True, ids=str)
def test_the_working_directory_is_there(clone: Path, log: Path) -> None:
    directory = clone / "scripts"
    status, output = wait_lab(start_lab(TREE, "--log", str(log), "--", "test", "-x", "lab", cwd=directory))
    assert (status, output) == (0, "")
