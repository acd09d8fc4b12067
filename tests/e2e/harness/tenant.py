# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else on the source's NIC: a TCP stream to the far host, as fast as it goes."""

import socket
import subprocess
import sys
import threading

from .far_host import FarHost

SINK = """
import socket, sys
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while connection.recv(1 << 16):
    pass
"""


class Tenant:
    def __init__(self, far: FarHost) -> None:
        self.sink = subprocess.Popen([*far.enter, sys.executable, "-c", SINK, far.address], stdout=subprocess.PIPE, text=True)
        assert self.sink.stdout
        self.connection = socket.create_connection((far.address, int(self.sink.stdout.readline())), timeout=60)
        self.sent = 0
        self.stopping = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        data = bytes(1 << 14)
        while not self.stopping:
            self.sent += self.connection.send(data)

    def stop(self) -> int:
        """How many bytes it has sent."""
        self.stopping = True
        self.thread.join()
        self.connection.close()
        self.sink.wait(60)
        return self.sent
