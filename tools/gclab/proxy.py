# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP proxy between two gcctls that can lose, change and delay what it carries. It knows the channels of connections
in clear only."""

import json
import re
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

RECORD_HEAD = 20  # bytes; userspace/src/peer/record.h
DATA = 2  # the kind of a record
LINE_END = b"\n"
MAX_PIECE = 65536  # bytes
PIECES_PER_SECOND = 500  # with a rate


@dataclass
class _Pair:
    """One connection: the socket that connected to the proxy, and the proxy's own to the destination."""

    near: socket.socket
    far: socket.socket
    channel: str = ""
    hello: bytes = b""
    answers: bytes = field(default=b"")  # of a muted channel: the beginning of a record


class Proxy:
    """Carries connections to 127.0.0.1:`port`.

    `cut_after`: breaks all of them once that many bytes went to the destination. `mute`: the channels whose answers it
    discards; the connection stays alive. `newest`: the newest version of the protocol that the source then seems to speak.
    `rate`: the bytes that it carries to the destination in a second, until full_speed(). What it has not carried yet is still
    the sender's to its kernel, as on a slow link: the proxy takes little at a time.
    """

    def __init__(self, port: int, cut_after: int | None = None, mute: tuple[str, ...] = (), newest: int | None = None,
                 rate: int | None = None) -> None:
        self._target, self._cut_after, self._mute, self._newest, self._rate = port, cut_after, mute, newest, rate
        self.carried = 0  # bytes to the destination
        self.connections = 0
        self._flip_after: int | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.port: int = self._listener.getsockname()[1]
        if rate is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # accepted sockets have it, too
        self._pairs: list[_Pair] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def cut(self) -> None:
        """Breaks all connections and accepts no more."""
        self._stopping.set()
        self._thread.join()

    def reset(self, *channels: str) -> None:
        """Breaks the connections of these channels, or of all; new ones are carried."""
        with self._lock:
            for pair in [pair for pair in self._pairs if not channels or pair.channel in channels]:
                self._break(pair)

    def silence(self, seconds: float) -> None:
        """Carries nothing for that long; the connections stay open."""
        with self._lock:
            time.sleep(seconds)

    def full_speed(self) -> None:
        """Ends `rate`."""
        with self._lock:
            self._rate = None
            for pair in self._pairs:
                pair.near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def flip(self, after: int) -> None:
        """Changes a bit of what goes to the destination, that many bytes from now."""
        self._flip_after = after

    def _run(self) -> None:
        while not self._stopping.is_set() and (self._cut_after is None or self.carried < self._cut_after):
            for key, _ in self._selector.select(timeout=0.02):
                with self._lock:
                    if key.data is None:
                        self._accept()
                    elif key.data in self._pairs:
                        assert isinstance(key.fileobj, socket.socket)
                        self._carry(key.fileobj, key.data)
        for pair in self._pairs[:]:
            self._break(pair)
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        self.connections += 1
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            near.close()
            return
        pair = _Pair(near, far)
        self._pairs.append(pair)
        for side in (near, far):
            side.settimeout(10)
            self._selector.register(side, selectors.EVENT_READ, pair)

    def _break(self, pair: _Pair) -> None:
        self._pairs.remove(pair)
        for side in (pair.near, pair.far):
            try:
                self._selector.unregister(side)
            except KeyError:
                pass  # its end was seen
            side.close()

    def _carry(self, side: socket.socket, pair: _Pair) -> None:
        other = pair.far if side is pair.near else pair.near
        try:
            data = side.recv(MAX_PIECE if self._rate is None else max(1, self._rate // PIECES_PER_SECOND))
            if not data:
                other.shutdown(socket.SHUT_WR)
                self._selector.unregister(side)
            elif side is pair.near:
                if self._newest is not None and not pair.channel:
                    data = re.sub(rb'("newest": ?)\d+', rb"\g<1>%d" % self._newest, data)
                self._read_hello(pair, data)
                self.carried += len(data)
                other.sendall(self._flipped(data))
                if self._rate is not None:
                    time.sleep(len(data) / self._rate)
            else:
                other.sendall(self._without_data(pair, data) if pair.channel in self._mute else data)
        except OSError:
            self._break(pair)

    def _read_hello(self, pair: _Pair, data: bytes) -> None:
        if pair.channel:
            return
        pair.hello += data
        if not pair.hello.startswith(b"{"):
            pair.channel = "encrypted"
        elif LINE_END in pair.hello:
            pair.channel = json.loads(pair.hello.split(LINE_END)[0])["channel"]

    def _flipped(self, data: bytes) -> bytes:
        if self._flip_after is None:
            return data
        if self._flip_after >= len(data):
            self._flip_after -= len(data)
            return data
        at, self._flip_after = self._flip_after, None
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]

    @staticmethod
    def _without_data(pair: _Pair, data: bytes) -> bytes:
        """The records that keep the connection alive."""
        pair.answers += data
        kept = b""
        while len(pair.answers) >= RECORD_HEAD:
            size = RECORD_HEAD + int.from_bytes(pair.answers[1:4], "big")
            if len(pair.answers) < size:
                break
            if pair.answers[0] != DATA:
                kept += pair.answers[:size]
            pair.answers = pair.answers[size:]
        return kept
