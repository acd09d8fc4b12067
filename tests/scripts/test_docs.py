# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents: links, paths, commands and options exist, and lines are short."""

import functools
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
GCCTL = Path(os.environ.get("GCCTL", TREE / "build" / "bin" / "gcctl"))
DOCUMENTS = sorted([*TREE.glob("*.md"), *(TREE / "docs").rglob("*.md")])
NAMES = [str(path.relative_to(TREE)) for path in DOCUMENTS]
MAX_README_LINES = 120
MAX_LINE = 120  # characters; of prose only

FENCE = re.compile(r"^ *```(\w*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?![\w-])")

documents = pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)


def lines(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Number, text and language of each line; the language is None outside of code, and "" in code without one."""
    language: str | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if fence := FENCE.match(line):
            language = fence[1] if language is None else None
        else:
            yield number, line, language


def prose(path: Path) -> str:
    return "\n".join(line for _, line, language in lines(path) if language is None)


@functools.cache
def anchors(path: Path) -> set[str]:
    """Those that GitHub gives to headings."""
    found: set[str] = set()
    for _, line, language in lines(path):
        if language is None and (heading := re.match(r"#+ (.*)", line)):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def test_readme_is_short() -> None:
    assert len((TREE / "README.md").read_text().splitlines()) <= MAX_README_LINES


@documents
def test_lines_of_prose_are_short(path: Path) -> None:
    long = [number for number, line, language in lines(path)
            if language is None and len(line) > MAX_LINE and not line.lstrip().startswith("|")]
    assert not long, f"lines of more than {MAX_LINE} characters: {long}"


@documents
def test_links(path: Path) -> None:
    broken = []
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken, f"broken links: {broken}"


@documents
def test_results_are_named_by_date(path: Path) -> None:
    if path.parent.name == "results" and path.name != "README.md":
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}-[a-z-]+\.md", path.name)
        index = (path.parent / "README.md").read_text()
        assert f"({path.name})" in index, "the results' README does not list it"


def repository_path(code: str) -> str | None:
    """The path that a piece of code names, if it is one of this repository; relative to its root."""
    name = code.split(",")[0].rstrip("/")
    if not re.fullmatch(r"[\w.][\w./-]*", name) or "/" not in name or "VERSION" in name:
        return None
    top = name.split("/")[0]
    if top == "build":
        return None
    if (TREE / top).is_dir():
        return name
    # Of gcctl's sources the documents name only what is below src, and it must look like a file.
    if (TREE / "userspace" / "src" / top).is_dir() and re.search(r"\.(h|cpp)$", name):
        return f"userspace/src/{name}"
    return None


@documents
def test_paths(path: Path) -> None:
    if path.parent.name == "results" or path.name == "CHANGELOG.md":
        return  # they tell of another day
    missing = []
    for code in CODE.findall(prose(path)):
        name = repository_path(code)
        if name and not (TREE / name).exists():
            missing.append(name)
    assert not missing, f"no such files: {missing}"


def commands(path: Path) -> Iterator[list[str]]:
    """The words of each command in a shell block, and of each inline piece of code that begins with a program's name."""
    shell = "\n".join(line for _, line, language in lines(path) if language == "sh").replace("\\\n", " ")
    inline = [code for code in CODE.findall(prose(path)) if re.match(r"(gcctl|make)( |$)", code)]
    for line in [*shell.splitlines(), *inline]:
        try:
            words = shlex.split(line.replace("...", ""), comments=True)
        except ValueError:
            continue  # a here-document, or a quote over several lines
        command: list[str] = []
        for word in [*words, ";"]:
            if word in ("&&", "||", "|", "&", ";") or word.endswith(";"):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


@documents
def test_make_targets(path: Path) -> None:
    if path.parent.name == "results":
        return
    makefile = (TREE / "Makefile").read_text()
    known = {name for line in re.findall(r"^([a-z][a-z -]*):", makefile, re.M) for name in line.split()}
    unknown = []
    for words in commands(path):
        words = words[1:] if words[0] == "sudo" else words
        if words[0] != "make" or "-C" in words:
            continue
        unknown += [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word) and word not in known]
    assert not unknown, f"no such targets: {unknown}"


@functools.cache
def usage(*command: str) -> str | None:
    """The help of a command of gcctl; None if there is no such command."""
    run = subprocess.run([GCCTL, *command, "--help"], capture_output=True, text=True, timeout=30, check=False)
    return run.stdout if run.returncode == 0 else None


needs_gcctl = pytest.mark.skipif(not GCCTL.exists(), reason=f"no {GCCTL}: make userspace")


@needs_gcctl
@documents
def test_gcctl_commands(path: Path) -> None:
    wrong = []
    for words in commands(path):
        if Path(words[0]).name != "gcctl" or len(words) < 2 or not re.fullmatch(r"[a-z][a-z-]*", words[1]):
            continue
        name = words[1:3] if words[1] in ("policy", "recover") and len(words) > 2 and words[2].isalpha() else words[1:2]
        text = usage() if name == ["help"] else usage(*name)
        if text is None:
            wrong.append(" ".join(words[: 1 + len(name)]))
            continue
        known = set(OPTION.findall(text))
        used = {found for word in words[1:] for found in OPTION.findall(word.split("=")[0])}
        wrong += [f"gcctl {' '.join(name)} {option}" for option in sorted(used - known)]
    assert not wrong, f"gcctl knows nothing of: {wrong}"


def gcctl_commands() -> set[str]:
    listed = (usage() or "").partition("Commands:\n")[2].partition("\n\n")[0]
    found = {line.split()[0] for line in listed.splitlines()} - {"help"}
    assert {"migrate", "receive"} < found
    return found


@needs_gcctl
def test_a_help_is_printed_once() -> None:
    printed = {name: (usage(name) or "").count("usage: ") for name in gcctl_commands()}
    assert set(printed.values()) == {1}, printed


@needs_gcctl
def test_each_command_has_a_man_page() -> None:
    pages = {path.stem for path in (GCCTL.resolve().parents[1] / "man").glob("*.8")}
    if not pages:
        pytest.skip("no man pages: ninja -C build/dev manual")
    assert pages == {"gcctl"} | {f"gcctl-{name}" for name in gcctl_commands()}


def property_names(schema: object) -> set[str]:
    if isinstance(schema, list):
        return {name for each in schema for name in property_names(each)}
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | property_names(list(schema.values()))


@needs_gcctl
def test_the_report_s_fields_are_explained() -> None:
    schema = json.loads(subprocess.run([GCCTL, "report", "--schema"], capture_output=True, text=True, timeout=30, check=True).stdout)
    fields = property_names(schema)
    assert {"downtime_ms", "urgent", "protection"} < fields
    code = re.findall(r"`([^`]+)`", (TREE / "docs/reference/report-schema.md").read_text())
    assert fields <= set(re.findall(r"\w+", " ".join(code)))


SOURCES = subprocess.run(["git", "ls-files", "--", "*.c", "*.h", "*.cpp", "*.py", "Makefile", "CMakeLists.txt", "scripts"], cwd=TREE,
                         capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_sources_name_documents_that_exist() -> None:
    wrong = [f"{name}: {path}" for name in SOURCES
             for path in re.findall(r"\bdocs/[\w./-]*\.md\b", (TREE / name).read_text(errors="replace")) if not (TREE / path).exists()]
    assert not wrong, wrong


@functools.cache
def messages() -> str:
    """All strings of gcctl; a newline stands for each value in them."""
    text = "".join((TREE / name).read_text() for name in SOURCES if name.startswith("userspace/src/"))
    joined = re.sub(r'"\s*\n\s*"', "", text)
    return re.sub(r"\{[^{}\"]*\}", "\n", joined)


def quoted_messages() -> Iterator[str]:
    """The first cell of each row of a table of messages, unless another program's name follows."""
    table = ""
    for _, line, _ in lines(TREE / "docs/operations/troubleshooting.md"):
        table = line if not table else table if line.startswith("|") else ""
        if line.startswith("| `") and table.startswith("| message") and (cell := re.match(r"\| `([^`]+)` \|", line)):
            yield cell[1]


def test_quoted_messages_are_those_of_gcctl() -> None:
    errors = {os.strerror(number) for number in range(1, 134)}
    quoted = list(quoted_messages())
    assert len(quoted) > 30
    for message in quoted:
        # Capitals, and words in parentheses, stand for values.
        parts = re.split(r"\.\.\.|\b(?:HOST:PORT|HOST|PATH|X)\b|\([\w-]+\)|: ", message)
        for part in (part.strip(" ;") for part in parts):
            assert part in messages() or part in errors, f"no message of gcctl has '{part}', which '{message}' quotes"


def test_the_picture_of_includes_is_that_of_the_code() -> None:
    drawn = subprocess.run([TREE / "scripts/include-graph", "--picture"], capture_output=True, text=True, check=True).stdout
    text = (TREE / "docs/internals/architecture.md").read_text()
    assert f"```mermaid\n{drawn}```" in text, "put what scripts/include-graph --picture prints into architecture.md"
