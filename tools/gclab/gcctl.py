# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of gcctl: their exit status, events and report."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import]  # it has no types

from .environment import GCCTL, SLOW
from .wait import wait_for

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_NEEDS_OPERATOR, EXIT_CANCELLED = 0, 1, 2, 3, 4, 130

# The report's `pages` and `bytes` have a count for each class of page, and these.
NOT_CLASSES = ("total", "zero")

Report = dict[str, Any]


def run(*arguments: str, launcher: tuple[str, ...] = (), timeout: float = 20 * SLOW,
        env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs gcctl to its end, whatever its exit status. `launcher`: what starts it in another way, such as nsenter."""
    return subprocess.run([*launcher, str(GCCTL), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, env=os.environ | env if env else None)


def run_ok(*arguments: str, timeout: float = 20 * SLOW) -> str:
    """Runs gcctl, which must succeed; returns its output."""
    done = run(*arguments, timeout=timeout)
    assert done.returncode == EXIT_DONE, f"gcctl {' '.join(arguments)}: exit status {done.returncode}: {done.stderr}"
    return done.stdout


def state_env(directory: Path) -> dict[str, str]:
    """Where the gcctls of a test keep their records: both ends in one place, and nothing in /run."""
    return {"GUIDECOPY_STATE_DIR": str(directory / "state")}


class Gcctl:
    """A gcctl that runs with --json beside the test. `directory` gets its output and its temporary files."""

    def __init__(self, directory: Path, command: str, *arguments: str, launcher: tuple[str, ...] = ()) -> None:
        self.command = command
        self.output_path = directory / f"gcctl-{command}.out"
        self.error_path = directory / f"gcctl-{command}.err"
        temp = directory / "tmp"
        temp.mkdir(exist_ok=True)
        with self.output_path.open("wb") as output, self.error_path.open("wb") as errors:
            self.process = subprocess.Popen([*launcher, str(GCCTL), command, *arguments, "--json"], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=errors,
                                            env=os.environ | {"TMPDIR": str(temp)} | state_env(directory.parent))

    def events(self) -> list[dict[str, Any]]:
        """All that it has printed so far."""
        # The last line may be incomplete.
        return [json.loads(line) for line in self.output_path.read_text().split("\n")[:-1]]

    def event(self, name: str) -> dict[str, Any] | None:
        """The first one of that name."""
        return next((event for event in self.events() if event["event"] == name), None)

    def wait_event(self, name: str, timeout: float = 20) -> dict[str, Any]:
        def seen() -> dict[str, Any] | None:
            ended = self.process.poll() is not None
            event = self.event(name)
            assert event or not ended, f"gcctl {self.command} ended without the event '{name}': {self.errors()}"
            return event

        found = wait_for(f"gcctl {self.command} prints the event '{name}'", seen, timeout * SLOW, 0.01)
        assert found
        return found

    def errors(self) -> str:
        return self.error_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 60) -> int:
        return self.process.wait(timeout * SLOW)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def page_classes(report: Report) -> list[str]:
    return [name for name in report["pages"] if name not in NOT_CLASSES]


def read_report(path: Path) -> Report:
    """The report, after gcctl report and its JSON schema have checked it."""
    run_ok("report", str(path), "-o", str(path.with_suffix(".html")))
    report: Report = json.loads(path.read_text())
    jsonschema.validate(report, json.loads(run_ok("report", "--schema")))
    assert page_classes(report) and report["pages"].keys() == report["bytes"].keys()
    assert report["guide"]["dropped"] == 0
    return report
