# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered datagrams to a VM, each of which its kernel answers once: ICMP echo requests, which nobody sends again."""

import os
import socket
import struct
import threading
import time

ECHO_REPLY, ECHO_REQUEST = 0, 8
HEADER = struct.Struct("!BBHHH")


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Pings:
    """Sends one every `interval` seconds until stop()."""

    def __init__(self, address: str, interval: float = 0.005) -> None:
        self._address, self._interval = address, interval
        self._id = os.getpid() & 0xFFFF
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.settimeout(0.1)
        self._sent = 0
        self._answers: list[int] = []
        self._stopping = self._closing = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    @property
    def answered(self) -> int:
        return len(self._answers)

    def stop(self, patience: float) -> tuple[int, int]:
        """Returns how many were not answered when no answer had come for `patience` seconds, and how many answers were
        one too many."""
        self._stopping = True
        self._threads[0].join()
        answered, end = 0, time.monotonic() + patience
        while time.monotonic() < end and len(set(self._answers)) < self._sent:
            if len(self._answers) > answered:
                answered, end = len(self._answers), time.monotonic() + patience
            time.sleep(0.05)
        self._closing = True
        self._threads[1].join()
        self._socket.close()
        different = len(set(self._answers))
        return self._sent - different, len(self._answers) - different

    def _send(self) -> None:
        while not self._stopping:
            assert self._sent < 1 << 16
            head = HEADER.pack(ECHO_REQUEST, 0, 0, self._id, self._sent)
            self._socket.sendto(HEADER.pack(ECHO_REQUEST, 0, _checksum(head), self._id, self._sent), (self._address, 0))
            self._sent += 1
            time.sleep(self._interval)

    def _receive(self) -> None:
        while not self._closing:
            try:
                packet, (address, _) = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            kind, _, _, identity, number = HEADER.unpack_from(packet, 4 * (packet[0] & 15))
            if address == self._address and kind == ECHO_REPLY and identity == self._id:
                self._answers.append(number)
