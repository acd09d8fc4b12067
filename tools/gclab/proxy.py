# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP proxy between the two gcctls that can lose what it carries."""

import selectors
import socket
import threading
from dataclasses import dataclass


@dataclass
class _Pair:
    """One connection: the socket that connected to the proxy, and the proxy's own to the destination."""

    near: socket.socket
    far: socket.socket
    muted: bool


class Proxy:
    """Carries connections to 127.0.0.1:`port`.

    `cut_after`: breaks all of them once that many bytes went to the destination. `mute`: the connections, numbered in
    order of arrival, whose answers it discards.
    """

    def __init__(self, port: int, cut_after: int | None = None, mute: tuple[int, ...] = ()) -> None:
        self._target, self._cut_after, self._mute = port, cut_after, mute
        self._carried = 0  # bytes to the destination
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
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

    def _run(self) -> None:
        while not self._stopping.is_set() and (self._cut_after is None or self._carried < self._cut_after):
            for key, _ in self._selector.select(timeout=0.02):
                if key.data is None:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._carry(key.fileobj, key.data)
        for pair in self._pairs:
            pair.near.close()
            pair.far.close()
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        pair = _Pair(near, far, len(self._pairs) in self._mute)
        self._pairs.append(pair)
        for side in (near, far):
            side.settimeout(10)
            self._selector.register(side, selectors.EVENT_READ, pair)

    def _carry(self, side: socket.socket, pair: _Pair) -> None:
        other = pair.far if side is pair.near else pair.near
        try:
            data = side.recv(65536)
            if data and side is pair.far and pair.muted:
                return
            if data:
                other.sendall(data)
            else:
                other.shutdown(socket.SHUT_WR)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(side)
        elif side is pair.near:
            self._carried += len(data)
