# SPDX-License-Identifier: GPL-2.0-or-later
"""kmod/check-tracepoint compares the prototype in kmod/kvm.c with a kernel's BTF."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from gclab.environment import TREE, kernels

SCRIPT = TREE / "kmod/check-tracepoint"


def check(release: str, tools: Path | None = None, root: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"]}
    return subprocess.run([SCRIPT, release, *([root] if root else [])], env=environment, capture_output=True, text=True, timeout=60, check=False)


def expected() -> str:
    line = re.search(r"^expected='(.*)'$", SCRIPT.read_text(), re.MULTILINE)
    assert line
    return line[1]


def bpftool(directory: Path, types: str) -> Path:
    tool = directory / "bpftool"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{types}\nEND\n")
    tool.chmod(0o755)
    return directory


@pytest.mark.parametrize("kernel", kernels())
def test_installed_kernels_have_the_prototype(kernel: str) -> None:
    result = check(kernel)
    assert (result.returncode, result.stdout, result.stderr) == (
        0, f"check-tracepoint: kvm_page_fault of {kernel} is as expected\n", "")


@pytest.mark.parametrize("prototype", [
    "void (*btf_trace_kvm_page_fault)(void *, long unsigned int, u32);",  # before Linux 6.1
    "void (*btf_trace_kvm_page_fault)(void *, struct kvm_vcpu *, u64, u64, u64);",
    "void (*btf_trace_kvm_page_fault)(void *, struct kvm_vcpu *, u64, u32);",
])
def test_another_prototype_fails(prototype: str, tmp_path: Path) -> None:
    result = check(kernels()[0], bpftool(tmp_path, f"typedef {prototype}"))
    assert result.returncode == 1
    assert prototype in result.stderr
    assert expected() in result.stderr


def test_a_struct_that_bpftool_numbers_is_the_same(tmp_path: Path) -> None:
    numbered = expected().replace("kvm_vcpu ", "kvm_vcpu___2 ")
    result = check(kernels()[0], bpftool(tmp_path, f"typedef {numbered}"))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_kernel_that_is_not_installed(tmp_path: Path) -> None:
    """Its headers and modules are below a directory, as scripts/fetch-kernel makes it."""
    root = tmp_path / "root"
    (root / "build").mkdir(parents=True)
    (root / "build" / "vmlinux").write_bytes(b"BTF")
    modules = root / "lib/modules/7.9.0-none/kernel"
    modules.mkdir(parents=True)
    (modules / "kvm.ko").write_bytes(b"BTF")
    tools = bpftool(tmp_path, f"typedef {expected()}")
    assert "not checked: no BTF of the kernel" in check("7.9.0-none", tools).stderr
    result = check("7.9.0-none", tools, root)
    assert (result.returncode, result.stdout, result.stderr) == (
        0, "check-tracepoint: kvm_page_fault of 7.9.0-none is as expected\n", "")


def test_what_cannot_be_checked_is_noted(tmp_path: Path) -> None:
    assert "not checked: no BTF of the kernel" in check("0.0.0-none").stderr
    result = check(kernels()[0], bpftool(tmp_path, "typedef int other;"))
    assert (result.returncode, result.stdout) == (0, "")
    assert "not checked: no such tracepoint" in result.stderr


def test_the_module_declares_what_is_checked() -> None:
    source = " ".join((TREE / "kmod/kvm.c").read_text().split())
    declared = re.search(r"DECLARE_TRACE_EVENT\(kvm_page_fault, TP_PROTO\((.*?)\),", source)
    assert declared
    types = [re.sub(r"\w+$", "", argument.strip()).strip() for argument in declared[1].split(",")]
    assert expected() == f"void (*btf_trace_kvm_page_fault)(void *, {', '.join(types)});"
