# SPDX-License-Identifier: GPL-2.0-or-later
"""gcctl processes, their events and their report."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from .environment import GCCTL, SLOW
from .wait import wait_for

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_CANCELLED = 0, 1, 2, 3, 130

CLASSES = ("precopy", "urgent", "guide", "warm", "background")
REPORT_KEYS = {
    "schema": str, "result": str, "error": str, "mode": str, "capture": str, "downtime_ms": float, "total_ms": float,
    "pages": dict.fromkeys((*CLASSES, "total", "zero"), int),
    "bytes": dict.fromkeys((*CLASSES, "total", "zero"), int),
    "demand": {"faults": int, "stall_ms": float, "p50_us": float, "p99_us": float, "p999_us": float, "histogram_us": list,
               "timeline": {"step_ms": int, "counts": list}},
    "guide": {"started": bool, "load_ms": float, "waited_ms": float, "records": int, "pushed": int, "dropped": int, "blocked_ms": float,
              "sent": {**dict.fromkeys(("packets", "bytes", "arp", "ipv4", "ipv6", "other"), int), "dropped_by": str},
              "ended": str, "reason": str},
    "next": {"pages": int, "sent": int},
    "hot": {"from": str, "pages": int, "reason": str},
    "policy": {"name": str, "device": str, "joined": bool, "reason": str, "classes": dict, "tenants": dict}, "qemu": {"source": str, "destination": str}, "kernel": str,
}


class Gcctl:
    """One run of gcctl with --json; `events` are what it has printed so far. `enter`: what starts it elsewhere, such as
    nsenter."""

    def __init__(self, directory: Path, command: str, *arguments: str, enter: tuple[str, ...] = ()):
        self.command = command
        self.output_path = directory / f"gcctl-{command}.out"
        self.error_path = directory / f"gcctl-{command}.err"
        temp = directory / "tmp"
        temp.mkdir(exist_ok=True)
        with self.output_path.open("wb") as output, self.error_path.open("wb") as errors:
            self.process = subprocess.Popen([*enter, str(GCCTL), command, *arguments, "--json"], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=errors, env=os.environ | {"TMPDIR": str(temp)})

    def events(self) -> list[dict[str, Any]]:
        # The last line may be unfinished.
        return [json.loads(line) for line in self.output_path.read_text().split("\n")[:-1]]

    def event(self, name: str) -> dict[str, Any] | None:
        return next((e for e in self.events() if e["event"] == name), None)

    def wait_event(self, name: str, timeout: float = 20) -> dict[str, Any]:
        def seen() -> dict[str, Any] | None:
            ended = self.process.poll() is not None
            event = self.event(name)
            assert event or not ended, f"gcctl {self.command} ended without '{name}': {self.errors()}"
            return event

        return wait_for(f"gcctl {self.command} says '{name}'", seen, timeout * SLOW, 0.01)

    def errors(self) -> str:
        return self.error_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 60) -> int:
        return self.process.wait(timeout * SLOW)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def read_report(path: Path) -> dict[str, Any]:
    """The report, checked against its schema."""
    report = json.loads(path.read_text())
    _check_keys(report, REPORT_KEYS, "report")
    assert report["schema"] == "guidecopy.report/1"
    assert report["result"] in ("completed", "failed", "cancelled")
    assert report["mode"] in ("guide", "postcopy")
    assert report["capture"] in ("kmod", "none")
    assert report["guide"]["ended"] in ("complete", "diverged", "died", "memory-limit", "refused", "off")
    assert report["guide"]["dropped"] == 0
    assert len(report["demand"]["histogram_us"]) == 24
    return report


def _check_keys(value: dict[str, Any], keys: dict[str, Any], where: str) -> None:
    for key, kind in keys.items():
        assert key in value, f"{where} lacks {key}"
        if isinstance(kind, dict):
            _check_keys(value[key], kind, f"{where}.{key}")
        else:
            accepted = (int, float) if kind is float else kind
            assert isinstance(value[key], accepted), f"{where}.{key} is {value[key]!r}"
