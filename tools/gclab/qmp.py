# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .wait import Deadline


class QmpError(Exception):
    """QEMU refused a command; the text is QEMU's description."""


class Qmp:
    """A connection to one monitor socket.

    `timeout`, in seconds, limits each answer and the wait for the socket. `check` is called while there is no socket
    yet, and raises if there will be none.
    """

    def __init__(self, path: Path, timeout: float, check: Callable[[], None] = lambda: None) -> None:
        self.events: list[dict[str, Any]] = []  # received so far, with or before the last command's answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._connect(path, Deadline(timeout), check)
        self._lines = self._socket.makefile("rb")
        self._receive()  # the greeting
        self.command("qmp_capabilities")

    def _connect(self, path: Path, deadline: Deadline, check: Callable[[], None]) -> None:
        while True:
            check()
            try:
                self._socket.connect(str(path))
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if deadline.passed():
                    raise
                time.sleep(0.02)

    def _receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError("QEMU closed its monitor")
        message: dict[str, Any] = json.loads(line)
        return message

    def command(self, name: str, **arguments: Any) -> Any:
        """Underscores in argument names become hyphens."""
        request: dict[str, Any] = {"execute": name}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self._receive()
            if "error" in answer:
                raise QmpError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            if "event" in answer:
                self.events.append(answer)

    def event_time(self, name: str) -> float | None:
        """When QEMU last sent the event `name`, on the clock of time.time(). None if it has not."""
        self.command("query-name")  # its answer comes after all events so far
        stamps = [event["timestamp"] for event in self.events if event["event"] == name]
        return float(stamps[-1]["seconds"]) + float(stamps[-1]["microseconds"]) / 1e6 if stamps else None

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
