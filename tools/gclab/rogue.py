# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that do not keep to the protocol: for tests of what the other end makes of them."""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

TOKEN = "a" * 32


def connect(port: int, channel: str, token: str = TOKEN) -> socket.socket:
    """Says the hello of a channel as a gcctl would."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    hello = {"guidecopy": 3, "newest": 4, "channel": channel, "token": token}
    connection.sendall(json.dumps(hello).encode() + b"\n")
    return connection


def read_line(connection: socket.socket) -> bytes:
    """Up to a '\\n', or what came before the end."""
    line = b""
    while not line.endswith(b"\n"):
        try:
            byte = connection.recv(1)
        except OSError:
            break
        if not byte:
            break
        line += byte
    return line


@dataclass
class Lines:
    """What an Impostor sends in place of a line of the control channel."""

    to_source: bytes = b""
    to_destination: bytes = b""
    end_control: bool = False


@dataclass
class Impostor:
    """Stands between the two gcctls and speaks for one of them. `edit` gets each line of the control channel and who
    said it ("source" or "destination"); None lets it pass. It makes both speak version 4 of the protocol, whose control
    channel has lines and no records. Without `in_clear` it carries and keeps bytes only."""

    target: int
    edit: Callable[[str, bytes], Lines | None]
    in_clear: bool = True
    port: int = field(init=False)
    seen: dict[str, bytes] = field(default_factory=dict)  # bytes to the destination by channel, at most 16 MiB each

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        self._start(self._accept)

    def close(self) -> None:
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended
            each.close()

    def _start(self, body: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=body, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            far.settimeout(None)
            self._open += [near, far]
            self._start(self._serve, near, far)

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        channel = f"connection {len(self._open)}"
        if self.in_clear:
            hello = json.loads(read_line(near))
            far.sendall(json.dumps({**hello, "newest": 4}).encode() + b"\n")
            channel = hello["channel"]
        if channel == "control":
            self._start(self._lines, "source", near, far)
            self._start(self._lines, "destination", far, near)
        else:
            self._start(self._bytes, channel, near, far)
            self._start(self._bytes, None, far, near)

    def _bytes(self, channel: str | None, origin: socket.socket, to: socket.socket) -> None:
        try:
            while data := origin.recv(65536):
                if channel is not None and len(self.seen.get(channel, b"")) < 16 << 20:
                    self.seen[channel] = self.seen.get(channel, b"") + data
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # an end is gone

    def _lines(self, who: str, origin: socket.socket, to: socket.socket) -> None:
        source, destination = (origin, to) if who == "source" else (to, origin)
        try:
            while line := read_line(origin):
                instead = self.edit(who, line)
                if instead is None:
                    to.sendall(line)
                    continue
                source.sendall(instead.to_source)
                destination.sendall(instead.to_destination)
                if instead.end_control:
                    source.shutdown(socket.SHUT_RDWR)
                    destination.shutdown(socket.SHUT_RDWR)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # an end is gone
