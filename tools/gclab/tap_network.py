# SPDX-License-Identifier: GPL-2.0-or-later
"""A switch on this host with a tap for the QEMU of each end: clients are outside of the VM."""

from dataclasses import dataclass

from . import demo_guest
from .environment import NETWORK
from .network import HERE, run
from .openvswitch import OpenVSwitch
from .qemu import tap
from .vm import Spec


@dataclass
class TapNetwork:
    """`suffix` tells the names of several apart, `net` their addresses: 10.`net`.0.1 is this host's."""

    suffix: str
    net: int
    kind: str = NETWORK
    switch: OpenVSwitch | None = None

    @property
    def vm(self) -> str:
        return f"10.{self.net}.0.2"

    @property
    def bridge(self) -> str:
        return f"gcb{self.suffix}"

    def tap(self, end: str) -> str:
        """`end` is "s" or "d"."""
        return f"gc{end}{self.suffix}"

    def spec(self, end: str) -> Spec:
        """Of the Linux guest, with redis."""
        return demo_guest.spec(f"ip={self.vm}/24", "batch=0", ram_mib=192, args=tap(self.tap(end), self.kind == "vhost"))

    def create(self) -> None:
        if self.kind == "vhost":
            run("modprobe", "vhost_net")
        if self.kind == "openvswitch":
            self.switch = OpenVSwitch(self.bridge)
        else:
            HERE.bridge(self.bridge)
        HERE.address(self.bridge, f"10.{self.net}.0.1/24")
        for end in ("s", "d"):
            HERE.tap(self.tap(end))
            if self.switch:
                self.switch.plug(self.tap(end))
            else:
                HERE.plug(self.tap(end), self.bridge)

    def delete(self) -> None:
        for end in ("s", "d"):
            HERE.ip("link", "del", self.tap(end))
        if self.switch:
            self.switch.close()
        else:
            HERE.ip("link", "del", self.bridge)
