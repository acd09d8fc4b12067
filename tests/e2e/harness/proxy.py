# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP proxy between the two gcctls, which can lose what it carries."""

import selectors
import socket
import threading
from dataclasses import dataclass, field


@dataclass
class _Pair:
    """One connection: the side that connected to us, and ours to the destination."""

    near: socket.socket
    far: socket.socket
    ended: set[socket.socket] = field(default_factory=set)


class Proxy:
    """Carries connections to 127.0.0.1:port. `cut_after`: all are broken once so many bytes went to the destination.
    `mute`: numbers of the connections (in order of arrival) whose answers are taken and thrown away."""

    def __init__(self, port: int, cut_after: int | None = None, mute: tuple[int, ...] = ()):
        self.target, self.cut_after, self.mute = port, cut_after, mute
        self.carried = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs: list[_Pair] = []
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def cut(self) -> None:
        """Breaks all connections, and takes no more."""
        self.stopping.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.stopping.is_set():
            for key, _ in self.selector.select(timeout=0.02):
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._carry(key.fileobj, key.data)
            if self.cut_after is not None and self.carried >= self.cut_after:
                break
        for pair in self.pairs:
            pair.near.close()
            pair.far.close()
        self.listener.close()
        self.selector.close()

    def _accept(self) -> None:
        near, _ = self.listener.accept()
        pair = _Pair(near, socket.create_connection(("127.0.0.1", self.target), timeout=10))
        self.pairs.append(pair)
        for side in (pair.near, pair.far):
            side.settimeout(10)
            self.selector.register(side, selectors.EVENT_READ, pair)

    def _carry(self, side: socket.socket, pair: _Pair) -> None:
        other = pair.far if side is pair.near else pair.near
        try:
            data = side.recv(65536)
            if data and side is pair.far and self.pairs.index(pair) in self.mute:
                return
            if data:
                other.sendall(data)
            else:
                other.shutdown(socket.SHUT_WR)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(side)
        elif side is pair.near:
            self.carried += len(data)
