# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection whose class changes while its packets wait does not overtake itself."""

import json

from conftest import Namespace

PORT = "5009"
MARK = 0x67630000
ROUNDS, CHUNK = 100, 30000

RECEIVE = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
connection, _ = listener.accept()
total = 0
while data := connection.recv(65536):
    total += len(data)
print(total, flush=True)
"""

# Paced and unpaced in turn, as a page in the guide's connection that the VM comes to wait for makes it.
SEND = """
import socket, sys, time
address, port, rounds, chunk, guide, urgent = sys.argv[1], *map(int, sys.argv[2:])
s = socket.create_connection((address, port))
for number in range(rounds):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, guide)
    s.sendall(b"x" * chunk)
    time.sleep(0.005)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, urgent)
    time.sleep(0.005)
"""


def counter(ns: Namespace, name: str) -> int:
    return json.loads(ns.run("nstat", "--json", "--zeros", "--noupdate", "--ignore", name).stdout)["kernel"][name]


def test_a_class_that_changes(ns: Namespace, far: Namespace) -> None:
    ns.policy("attach", "--dev", "nic", "--link", "20mbit")
    receiver = far.start("/usr/bin/python3", "-c", RECEIVE, "10.9.0.2", PORT)
    try:
        assert receiver.stdout and receiver.stdout.readline() == "listening\n"
        ns.run("/usr/bin/python3", "-c", SEND, "10.9.0.2", PORT, str(ROUNDS), str(CHUNK), str(MARK + 1), str(MARK))
        assert receiver.stdout.readline() == f"{ROUNDS * CHUNK}\n"
    finally:
        receiver.kill()
        receiver.wait()
    classes = ns.show("nic")["classes"]
    assert classes["guide"]["bytes"] > 0 and classes["urgent"]["bytes"] > 0
    assert counter(far, "TcpExtTCPOFOQueue") == 0
