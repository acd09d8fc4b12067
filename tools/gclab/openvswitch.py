# SPDX-License-Identifier: GPL-2.0-or-later
"""An Open vSwitch of its own: a database, a daemon and a bridge, beside one that the host may run."""

import subprocess
import tempfile
from pathlib import Path

from .network import HERE, run
from .wait import wait_for

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
START_TIMEOUT = 60


class OpenVSwitch:
    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self._directory = tempfile.TemporaryDirectory(prefix="gc-ovs-")
        self._processes: list["subprocess.Popen[bytes]"] = []
        run("modprobe", "openvswitch")
        run("ovsdb-tool", "create", str(self._path("db")), SCHEMA)
        self._start("ovsdb-server", str(self._path("db")), f"--remote=punix:{self._path('socket')}", f"--unixctl={self._path('server')}")
        wait_for("the database answers", self._path("socket").exists, START_TIMEOUT)
        self._start("ovs-vswitchd", f"unix:{self._path('socket')}", f"--unixctl={self._path('switch')}")
        self.configure("add-br", bridge)
        HERE.ip("link", "set", bridge, "up")

    def _path(self, name: str) -> Path:
        return Path(self._directory.name) / name

    def _start(self, *command: str) -> None:
        with self._path(f"{command[0]}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def configure(self, *arguments: str) -> None:
        run("ovs-vsctl", f"--db=unix:{self._path('socket')}", f"--timeout={START_TIMEOUT}", *arguments)

    def plug(self, port: str) -> None:
        self.configure("add-port", self.bridge, port)
        HERE.ip("link", "set", port, "up")

    def close(self) -> None:
        self.configure("del-br", self.bridge)
        for process in reversed(self._processes):
            process.terminate()
            process.wait(START_TIMEOUT)
        self._directory.cleanup()
