# SPDX-License-Identifier: GPL-2.0-or-later
"""The network of a VM and its clients."""

from .far_host import Far
from .network import ip


class VmNetwork:
    """The VM's network: a bridge on each host, joined by a cable that no migration uses, and a tap for each QEMU.

    If the far host is a namespace, the destination's QEMU may be in either namespace, and both have its tap.
    """

    client_address, vm_address, far_client_address = "10.0.0.1", "10.0.0.2", "10.0.0.3"
    source_tap, destination_tap, bridge = "tap-src", "tap-dst", "br-vm"

    def __init__(self, far: Far) -> None:
        self.ends = [(ip, self.client_address, (self.source_tap, self.destination_tap)),
                     (far.ip, self.far_client_address, (self.destination_tap,))]
        self.cable = far.cable()
        for there, address, taps in self.ends:
            there("link", "add", self.bridge, "type", "bridge")
            for name in taps:
                there("tuntap", "add", name, "mode", "tap", "vnet_hdr")
            for port in (*taps, self.cable):
                there("link", "set", port, "master", self.bridge, "up")
            there("link", "set", self.bridge, "up")
            there("address", "add", f"{address}/24", "dev", self.bridge)

    def close(self) -> None:
        for there, _, taps in self.ends:
            there("link", "set", self.cable, "nomaster")
            for link in (*taps, self.bridge):
                there("link", "del", link)
