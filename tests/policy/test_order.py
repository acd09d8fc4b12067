# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of a connection stay in order when its class changes while some of them are queued."""

import json

from conftest import PolicyNamespace
from gclab.environment import PYTHON
from gclab.network import Namespace

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

# Paced and unpaced in turn, as when the VM comes to wait for a page that is queued in the guide's connection.
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
    return int(json.loads(ns.run("nstat", "--json", "--zeros", "--noupdate", "--ignore", name).stdout)["kernel"][name])


def test_packets_stay_in_order_when_the_class_changes(ns: PolicyNamespace, far: Namespace) -> None:
    ns.policy("attach", "--dev", "nic", "--link", "20mbit")
    receiver = far.start(PYTHON, "-c", RECEIVE, "10.9.0.2", PORT)
    try:
        assert receiver.stdout and receiver.stdout.readline() == "listening\n"
        ns.run(PYTHON, "-c", SEND, "10.9.0.2", PORT, str(ROUNDS), str(CHUNK), str(MARK + 1), str(MARK))
        assert receiver.stdout.readline() == f"{ROUNDS * CHUNK}\n"
    finally:
        receiver.kill()
        receiver.wait()
    classes = ns.show("nic")["classes"]
    assert classes["guide"]["bytes"] > 0 and classes["urgent"]["bytes"] > 0
    # A connection that overtakes itself does so in each round. A packet that a loaded host loses counts, too.
    assert counter(far, "TcpExtTCPOFOQueue") < ROUNDS // 10
