# SPDX-License-Identifier: GPL-2.0-or-later
"""gclab.kernel chooses the lab's kernel, and gclab.kernel_log finds trouble in its log."""

import platform

import pytest
from gclab import kernel, kernel_log

INSTALLED = ["5.10.0-30-amd64", "6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.9-amd64", "6.12.117+deb12-amd64"]


@pytest.mark.parametrize(("wanted", "expected"), [
    (None, "6.1.0-56-amd64"),
    ("6.1", "6.1.0-56-amd64"),
    ("6.12", "6.12.117+deb12-amd64"),
    ("6.1.0-9", "6.1.0-9-amd64"),
    ("6.12.9-amd64", "6.12.9-amd64"),
])
def test_choice(monkeypatch: pytest.MonkeyPatch, wanted: str | None, expected: str) -> None:
    monkeypatch.setattr(kernel, "_installed", lambda: sorted(reversed(INSTALLED), key=kernel._version_key))
    assert kernel.choose(wanted) == expected


def test_without_6_1_the_running_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_installed", lambda: ["5.10.0-30-amd64", "6.12.9-amd64"])
    monkeypatch.setattr(platform, "release", lambda: "5.10.0-30-amd64")
    assert kernel.choose(None) == "5.10.0-30-amd64"


def test_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_installed", lambda: INSTALLED)
    with pytest.raises(kernel.KernelError, match="no kernel 4.19 .*found: 5.10.0-30-amd64, "):
        kernel.choose("4.19")


def test_trouble_in_a_log() -> None:
    lines = ["[    1.0] guidecopy: loading", "[    2.0] WARNING: CPU: 0 PID: 1 at x.c:1", "[    2.0] ok",
             "[    3.0] BUG: KASAN: use-after-free"]
    assert kernel_log.trouble(lines) == [1, 3]
