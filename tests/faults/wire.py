# SPDX-License-Identifier: GPL-2.0-or-later
"""Two network namespaces and the wire between them (wire.c), which cuts, loses and changes what it carries."""

import json
import os
import re
import subprocess

from gclab.environment import BUILD
from gclab.network import Namespace

WIRE = BUILD / "faults" / "wire"


class Wire:
    """`near` is the source's host, `far` the destination's."""

    def __init__(self, seed: int) -> None:
        number = os.getpid() % 250 + 1
        self.near, self.far = Namespace(f"gc-near-{number}"), Namespace(f"gc-far-{number}")
        self.near_address, self.far_address = f"10.77.{number}.1", f"10.77.{number}.2"
        for namespace in (self.near, self.far):
            namespace.create()
        try:
            self._process = subprocess.Popen(
                [str(WIRE), self.near.name, f"{self.near_address}/30", self.far.name, f"{self.far_address}/30", str(seed)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self._answer() == "ready", "the wire did not start"
        except BaseException:
            self._delete()
            raise

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def do(self, command: str) -> str:
        """One of wire.c's commands; returns its answer."""
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def counts(self) -> dict[str, int]:
        """Packets carried, and those of each fault."""
        counts: dict[str, int] = json.loads(self.do("stats"))
        return counts

    def connections(self, pid: int) -> list[int]:
        """Local ports of the TCP connections of a process at the near end, in the order of their lowest descriptors: for
        gcctl migrate, that of its channels, each of which has one for all its connections."""
        found = []
        for line in self.near.run("ss", "-Htnp", "state", "established").stdout.splitlines():
            descriptors = [int(number) for number in re.findall(rf"pid={pid},fd=(\d+)", line)]
            port = re.search(r":(\d+)\s+\S+:\d+", line)
            if descriptors and port:
                found.append((min(descriptors), int(port[1])))
        return [port for _, port in sorted(found)]

    def reset(self, port: int) -> None:
        """Ends a connection of the near end; both ends get a reset."""
        self.near.run("ss", "-tK", "sport", "=", f":{port}")

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._delete()

    def _delete(self) -> None:
        for namespace in (self.near, self.far):
            namespace.delete()
