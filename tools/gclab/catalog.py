# SPDX-License-Identifier: GPL-2.0-or-later
"""All tests of a source tree by name, found in the sources: nothing is built or imported for that."""

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path


class Kind(Enum):
    """A kind of test, by how it runs."""

    UNIT = "unit test"
    MODULE = "module test"  # tests/module: needs guidecopy.ko, in the lab
    BPF = "BPF test"  # tests/bpf: in the lab
    KUNIT = "KUnit case"
    PYTEST = "pytest"


@dataclass(frozen=True)
class Test:
    """`group` is a gtest or KUnit suite, or a pytest file without its suffix; `source` is relative to the tree."""

    __test__ = False

    kind: Kind
    group: str
    case: str
    source: Path
    lab: bool = False  # a pytest that is marked as such

    @property
    def name(self) -> str:
        separator = "::" if self.kind is Kind.PYTEST else "."
        return f"{self.group}{separator}{self.case}"


GTEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
KUNIT_ARRAY = re.compile(r"^static struct kunit_case (\w+)\[\] = \{(.*?)^\};", re.MULTILINE | re.DOTALL)
KUNIT_CASE = re.compile(r"\bKUNIT_CASE(?:_\w+)?\(\s*(\w+)")
KUNIT_SUITE = re.compile(r"\bstruct kunit_suite \w+ = \{(.*?)^\};", re.MULTILINE | re.DOTALL)
KUNIT_FIELD = re.compile(r"\.(name|test_cases) = \"?([\w-]+)\"?,")


def find(tree: Path) -> list[Test]:
    """Every test of the tree, in a fixed order."""
    gtests = [(Kind.UNIT, "userspace/tests"), (Kind.MODULE, "tests/module"), (Kind.BPF, "tests/bpf")]
    tests = [test for kind, directory in gtests for path in sorted((tree / directory).rglob("*.cpp"))
             for test in _gtests(kind, path, tree)]
    for path in sorted((tree / "kmod" / "tests").glob("*_kunit.c")):
        tests += _kunit(path, tree)
    for path in sorted((tree / "tests").glob("*/test_*.py")):
        tests += _pytests(path, tree)
    return tests


def _gtests(kind: Kind, path: Path, tree: Path) -> Iterator[Test]:
    for suite, case in GTEST.findall(path.read_text()):
        yield Test(kind, suite, case, path.relative_to(tree))


def _kunit(path: Path, tree: Path) -> Iterator[Test]:
    text = path.read_text()
    arrays = {name: KUNIT_CASE.findall(body) for name, body in KUNIT_ARRAY.findall(text)}
    for body in KUNIT_SUITE.findall(text):
        fields = dict(KUNIT_FIELD.findall(body))
        for case in arrays.get(fields.get("test_cases", ""), []):
            yield Test(Kind.KUNIT, fields["name"], case, path.relative_to(tree))


def _pytests(path: Path, tree: Path) -> Iterator[Test]:
    text = path.read_text()
    try:
        module = ast.parse(text)
    except SyntaxError:  # pytest will report it; other tests can still be found
        for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE):
            yield Test(Kind.PYTEST, path.stem, name, path.relative_to(tree))
        return
    marked = any(isinstance(node, ast.Assign) and _is_lab_mark(node.value) and
                 any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)
                 for node in module.body)
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            lab = marked or any(_is_lab_mark(decorator) for decorator in node.decorator_list)
            yield Test(Kind.PYTEST, path.stem, node.name, path.relative_to(tree), lab)


def _is_lab_mark(node: ast.expr) -> bool:
    return ast.unparse(node) == "pytest.mark.lab"


def select(tests: list[Test], wanted: str) -> list[Test]:
    """The tests whose name, group, case or source file is `wanted`. If there are none, those whose name contains it or
    matches it as a pattern with *. Upper and lower case are the same; a pytest's parameters "[...]" are ignored."""
    key = wanted.lower().partition("[")[0]
    exact = [test for test in tests if key in _full_names(test)]
    return exact or [test for test in tests if fnmatch(test.name.lower(), key if "*" in key else f"*{key}*")]


def _full_names(test: Test) -> set[str]:
    source, case = str(test.source), test.case
    names = {test.name, test.group, case, source, test.source.name, test.source.stem}
    if test.kind is Kind.PYTEST:
        names |= {f"{source}::{case}", f"{test.source.name}::{case}"}
    return {name.lower() for name in names}


def nearest(tests: list[Test], wanted: str, count: int = 5) -> list[str]:
    """The names that look most like `wanted`."""
    # A name counts as near if the whole name, its group or its case is.
    by_part: dict[str, list[str]] = {}
    for test in tests:
        for part in {test.name.lower(), test.group.lower(), test.case.lower()}:
            by_part.setdefault(part, []).append(test.name)
    close = difflib.get_close_matches(wanted.lower(), by_part, n=count, cutoff=0.5)
    return list(dict.fromkeys(name for part in close for name in by_part[part]))[:count]
