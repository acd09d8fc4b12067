# SPDX-License-Identifier: GPL-2.0-or-later
"""gclab.catalog: finds tests of all kinds in the sources, and by their names."""

from pathlib import Path

import pytest
from gclab import catalog
from gclab.catalog import Kind, Test
from gclab.environment import TREE

SOURCES = {
    "userspace/tests/util/ring_test.cpp": """
TEST(Ring, IsEmpty) {
}
TEST_F(Ring, Wraps) {}
TEST_P(RingSizes, AreRefused)
{
}
INSTANTIATE_TEST_SUITE_P(All, RingSizes, testing::Values(1, 2));
// TEST(Not, ATest)
""",
    "tests/module/track_test.cpp": "TEST_F(Track, SeesEachTouch) {}\n",
    "tests/bpf/pace_test.cpp": "TEST_F(Shaper, PacesTheGuide) {}\n",
    "kmod/tests/ring_kunit.c": """
static struct kunit_case gc_ring_cases[] = {
	KUNIT_CASE(gc_ring_wraps),
	KUNIT_CASE_PARAM(gc_ring_sizes, gc_ring_gen_params),
	{}
};

struct kunit_suite gc_ring_suite = {
	.name = "guidecopy-ring",
	.init = gc_ring_init,
	.test_cases = gc_ring_cases,
};
""",
    "tests/e2e/test_guide.py": "import pytest\npytestmark = pytest.mark.lab\ndef test_guide_killed(): ...\n",
    "tests/e2e/test_migration.py": "import pytest\ndef test_machine(): ...\n@pytest.mark.lab\ndef test_precopy_first(): ...\ndef helper(): ...\n",
}


@pytest.fixture
def tests(tmp_path: Path) -> list[Test]:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return catalog.find(tmp_path)


def names(tests: list[Test]) -> list[str]:
    return [test.name for test in tests]


def test_finds_each_kind(tests: list[Test]) -> None:
    found = {kind: [test.name for test in tests if test.kind is kind] for kind in Kind}
    assert found == {
        Kind.UNIT: ["Ring.IsEmpty", "Ring.Wraps", "RingSizes.AreRefused"],
        Kind.MODULE: ["Track.SeesEachTouch"],
        Kind.BPF: ["Shaper.PacesTheGuide"],
        Kind.KUNIT: ["guidecopy-ring.gc_ring_wraps", "guidecopy-ring.gc_ring_sizes"],
        Kind.PYTEST: ["test_guide::test_guide_killed", "test_migration::test_machine", "test_migration::test_precopy_first"],
    }
    assert [test.name for test in tests if test.lab] == ["test_guide::test_guide_killed", "test_migration::test_precopy_first"]


@pytest.mark.parametrize(("wanted", "expected"), [
    ("Ring.Wraps", ["Ring.Wraps"]),
    ("ring.wraps", ["Ring.Wraps"]),
    ("Ring", ["Ring.IsEmpty", "Ring.Wraps"]),
    ("RingSiz", ["RingSizes.AreRefused"]),
    ("wraps", ["Ring.Wraps"]),
    ("wrap", ["Ring.Wraps", "guidecopy-ring.gc_ring_wraps"]),
    ("ring_test", ["Ring.IsEmpty", "Ring.Wraps", "RingSizes.AreRefused"]),
    ("*Wraps", ["Ring.Wraps", "guidecopy-ring.gc_ring_wraps"]),
    ("test_machine", ["test_migration::test_machine"]),
    ("test_machine[q35-1]", ["test_migration::test_machine"]),
    ("tests/e2e/test_migration.py", ["test_migration::test_machine", "test_migration::test_precopy_first"]),
    ("tests/e2e/test_migration.py::test_machine", ["test_migration::test_machine"]),
    ("test_migration.py::test_machine", ["test_migration::test_machine"]),
    ("nothing of the kind", []),
])
def test_selects_by_name(tests: list[Test], wanted: str, expected: list[str]) -> None:
    assert names(catalog.select(tests, wanted)) == expected


@pytest.mark.parametrize(("wanted", "expected"), [
    ("Ring.Wrap5", "Ring.Wraps"),
    ("Trakc", "Track.SeesEachTouch"),
    ("test_guide_kiled", "test_guide::test_guide_killed"),
    ("gc_ring_wrps", "guidecopy-ring.gc_ring_wraps"),
])
def test_names_the_nearest(tests: list[Test], wanted: str, expected: str) -> None:
    assert catalog.nearest(tests, wanted)[0] == expected


def test_nothing_is_near(tests: list[Test]) -> None:
    assert catalog.nearest(tests, "xyzzy-9000") == []


def test_survives_a_syntax_error(tmp_path: Path) -> None:
    path = tmp_path / "tests" / "e2e" / "test_broken.py"
    path.parent.mkdir(parents=True)
    path.write_text("def test_one() -> None:\n    x = = 1\n")
    assert names(catalog.find(tmp_path)) == ["test_broken::test_one"]


def test_finds_this_test() -> None:
    assert [str(test.source) for test in catalog.select(catalog.find(TREE), "test_finds_this_test")] == ["tests/scripts/test_catalog.py"]
