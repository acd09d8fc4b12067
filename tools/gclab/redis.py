# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of a redis that runs in a VM."""

import random
import socket
import threading
import time

from .sampler import Sampler, Samples

PORT = 6379
TIMEOUT = 60  # seconds for one answer


class Redis:
    """One connection."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_connection((address, PORT), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")

    def command(self, *words: str) -> bytes:
        """Returns a bulk reply's content; another reply's line, with its type (+OK, :1, -ERR ...)."""
        parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
        self._socket.sendall("".join(parts).encode())
        head = self._replies.readline()
        return self._replies.read(int(head[1:]) + 2)[:-2] if head.startswith(b"$") else head.strip()

    def commands_processed(self) -> int:
        """The server's own count."""
        text = self.command("info", "stats").decode()
        return int(text.split("total_commands_processed:")[1].split()[0])

    def close(self) -> None:
        self._replies.close()
        self._socket.close()


class RedisClient(threading.Thread):
    """Sends one request after another, for some keys much more often than for others. Every tenth request sets its key;
    the others check that the server returns what was set."""

    KEYS, SIZE = 8000, 1024
    SKEW = 0.99  # the exponent of a Zipf distribution; YCSB's default
    THINK_TIME = 0.001  # seconds between two requests

    def __init__(self, address: str, seed: int) -> None:
        super().__init__(daemon=True)
        weights = [1 / (rank + 1) ** self.SKEW for rank in range(self.KEYS)]
        self._keys = random.Random(seed).choices(range(self.KEYS), weights, k=50_000)
        self._redis = Redis(address)
        self._answers: list[tuple[float, float]] = []
        self._error = ""
        self._stopping = False
        self._sampler = Sampler(self.answered)

    # Methods, not attributes: on another host, only methods can be reached (see second_host.py).

    def answered(self) -> int:
        """Requests so far."""
        return len(self._answers)

    def answers(self) -> list[tuple[float, float]]:
        """When each answer came (time.time()), and how many seconds it took."""
        return self._answers

    def error(self) -> str:
        """Why it stopped by itself; empty if it did not."""
        return self._error

    def sample(self) -> None:
        """Begins to sample answered()."""
        self._sampler.start()

    def samples(self) -> Samples:
        """Ends the sampling."""
        return self._sampler.stop()

    def value(self, key: int) -> str:
        # In memory, keys lie in the order of their hashes, not of how often they are requested.
        return f"{key:08d}" * (self.SIZE // 8)

    def fill(self) -> None:
        """Sets all keys, in the server."""
        script = (f"for i = 0, {self.KEYS - 1} do redis.call('set', 'key:' .. i, string.rep(string.format('%08d', i), "
                  f"{self.SIZE // 8})) end return redis.status_reply('OK')")
        reply = self._redis.command("eval", script, "0")
        assert reply == b"+OK", reply

    def run(self) -> None:
        try:
            for number, key in enumerate(self._keys * 1000):
                if self._stopping:
                    return
                begin = time.time()
                self._request(number, key)
                end = time.time()
                self._answers.append((end, end - begin))
                time.sleep(self.THINK_TIME)
        except (OSError, AssertionError, ValueError) as error:
            self._error = f"{type(error).__name__} after {len(self._answers)} requests: {error}"

    def _request(self, number: int, key: int) -> None:
        if number % 10 == 9:
            reply = self._redis.command("set", f"key:{key}", self.value(key))
            assert reply == b"+OK", reply
        else:
            reply = self._redis.command("get", f"key:{key}")
            assert reply == self.value(key).encode(), f"key {key} holds {reply[:40]!r}"

    def stop(self) -> None:
        self._stopping = True
        self.join()
        self._redis.close()
