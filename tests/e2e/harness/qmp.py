# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client for one monitor socket."""

import json
import socket
import time
from pathlib import Path
from typing import Any


class QmpError(Exception):
    """QEMU refused a command; the text is its description."""


class Qmp:
    def __init__(self, path: Path, timeout: float):
        self.events: list[dict[str, Any]] = []  # that came before the last command's answer
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self._connect(path, timeout)
        self.lines = self.socket.makefile("rb")
        self._receive()  # the greeting
        self.command("qmp_capabilities")

    def _connect(self, path: Path, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.socket.connect(str(path))
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _receive(self) -> dict[str, Any]:
        line = self.lines.readline()
        if not line:
            raise EOFError("QEMU closed its monitor")
        return json.loads(line)

    def command(self, name: str, **arguments: Any) -> Any:
        request: dict[str, Any] = {"execute": name}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self._receive()
            if "error" in answer:
                raise QmpError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            if "event" in answer:
                self.events.append(answer)

    def event_time(self, name: str) -> float | None:
        """When the last event of that name was, as time.time() says it."""
        self.command("query-name")
        stamps = [event["timestamp"] for event in self.events if event["event"] == name]
        return stamps[-1]["seconds"] + stamps[-1]["microseconds"] / 1e6 if stamps else None

    def close(self) -> None:
        self.lines.close()
        self.socket.close()
