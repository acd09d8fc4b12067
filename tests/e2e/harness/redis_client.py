# SPDX-License-Identifier: GPL-2.0-or-later
"""Who asks a redis in a VM from outside."""

import random
import socket
import threading
import time

from .sampler import Sampler, Samples


class RedisClient(threading.Thread):
    """Asks a redis for one value after the other, some keys much more often than others, and sets each tenth anew. What it
    gets must be what it set."""

    KEYS, SIZE, SKEW, PORT = 8000, 1024, 0.99, 6379  # SKEW: zipf's, as YCSB has it
    THINK = 0.001  # seconds between two requests

    def __init__(self, address: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.keys = self.random.choices(range(self.KEYS), weights=[1 / (rank + 1) ** self.SKEW for rank in range(self.KEYS)], k=50_000)
        self.connection = socket.create_connection((address, self.PORT), timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.connection.makefile("rb")
        self.count = 0
        self.failure = ""
        self.stopping = False
        self.sampler = Sampler(self.answered)

    def answered(self) -> int:
        """Requests so far."""
        return self.count

    def error(self) -> str:
        """What ended it, if something did."""
        return self.failure

    def sample(self) -> None:
        """Samples `answered` from now on."""
        self.sampler.start()

    def samples(self) -> Samples:
        return self.sampler.stop()

    def command(self, *words: str) -> bytes:
        """A simple or bulk reply."""
        parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
        self.connection.sendall("".join(parts).encode())
        head = self.replies.readline()
        return self.replies.read(int(head[1:]) + 2)[:-2] if head.startswith(b"$") else head.strip()

    def value(self, key: int) -> str:
        # Keys lie about memory by their hash, not in the order of how often they are asked for.
        return f"{key:08d}" * (self.SIZE // 8)

    def fill(self) -> None:
        script = (f"for i = 0, {self.KEYS - 1} do redis.call('set', 'key:' .. i, string.rep(string.format('%08d', i), "
                  f"{self.SIZE // 8})) end return redis.status_reply('OK')")
        reply = self.command("eval", script, "0")
        assert reply == b"+OK", reply

    def run(self) -> None:
        try:
            for count, key in enumerate(self.keys * 1000):
                if self.stopping:
                    return
                if count % 10 == 9:
                    assert self.command("set", f"key:{key}", self.value(key)) == b"+OK"
                else:
                    got = self.command("get", f"key:{key}")
                    assert got == self.value(key).encode(), f"key {key} holds {got[:40]!r}"
                self.count += 1
                time.sleep(self.THINK)
        except (OSError, AssertionError, ValueError) as error:
            self.failure = f"{type(error).__name__} after {self.count} requests: {error}"

    def stop(self) -> None:
        self.stopping = True
        self.join()
        self.connection.close()
