# SPDX-License-Identifier: GPL-2.0-or-later
"""A Pacemaker cluster of two libvirt hosts: a corosync and a pacemakerd on each."""

import re
import shutil
import subprocess
from pathlib import Path

from .environment import SLOW
from .libvirt_hosts import LibvirtHost, LibvirtHosts, LibvirtVm
from .wait import wait_for

AGENT = Path("/usr/lib/ocf/resource.d/heartbeat/VirtualDomain")

COROSYNC_CONF = """\
totem {{
  version: 2
  cluster_name: lab
  transport: udpu
  crypto_cipher: none
  crypto_hash: none
}}
nodelist {{
{nodes}}}
quorum {{
  provider: corosync_votequorum
  two_node: 1
}}
logging {{
  to_syslog: no
  to_logfile: yes
  logfile: /var/log/corosync/corosync.log
}}
"""
NODE = """\
  node {{
    ring0_addr: {address}
    name: {name}
    nodeid: {number}
  }}
"""

# What the daemons keep, and by what they are reached, is each host's own.
PREPARE = """\
set -e
mount --bind {files}/etc /etc/corosync
mount --bind {files}/corosync /var/lib/corosync
mount --bind {files}/pacemaker /var/lib/pacemaker
mount --bind {files}/log /var/log/corosync
mount --bind {files}/log /var/log/pacemaker
mount -t tmpfs shm /dev/shm
mkdir -p /run/crm /run/resource-agents
chown hacluster:haclient /run/crm
touch {files}/ready
exec sleep infinity
"""

RESOURCE = """\
<primitive id="{name}" class="ocf" provider="heartbeat" type="VirtualDomain">
  <meta_attributes id="{name}-meta"><nvpair id="{name}-allow-migrate" name="allow-migrate" value="true"/></meta_attributes>
  <instance_attributes id="{name}-parameters">{parameters}</instance_attributes>
  <operations>
    <op id="{name}-start" name="start" interval="0" timeout="90"/>
    <op id="{name}-to" name="migrate_to" interval="0" timeout="120"/>
    <op id="{name}-from" name="migrate_from" interval="0" timeout="120"/>
    <op id="{name}-monitor" name="monitor" interval="10" timeout="60"/>
  </operations>
</primitive>
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    needed = {"corosync": "corosync", "pacemakerd": "pacemaker", "crm_mon": "pacemaker-cli-utils"}
    packages = [package for program, package in needed.items() if not shutil.which(program)] + ([] if AGENT.exists() else ["resource-agents"])
    return f"Pacemaker is not installed (packages {', '.join(packages)})" if packages else ""


class Node:
    def __init__(self, host: LibvirtHost, directory: Path, corosync_conf: str) -> None:
        self.name = host.name
        self._files = directory
        for part in ("etc", "corosync", "pacemaker", "log"):
            (directory / part).mkdir(parents=True)
        for part in ("cib", "pengine", "blackbox", "cores"):
            (directory / "pacemaker" / part).mkdir()
        (directory / "etc" / "corosync.conf").write_text(corosync_conf)
        for path in (directory / "pacemaker", *(directory / "pacemaker").iterdir(), directory / "log"):
            shutil.chown(path, "hacluster", "haclient")
        self._daemons: "list[subprocess.Popen[bytes]]" = []
        holder = self._start([*host.launcher, "unshare", "--mount", "sh", "-c", PREPARE.format(files=directory)])
        self._launcher = ("nsenter", "-t", str(holder.pid), "-n", "-m", "-u")
        wait_for(f"the cluster's part of {self.name} is prepared", (directory / "ready").exists, 10 * SLOW)

    def start_corosync(self) -> None:
        self._start([*self._launcher, "corosync", "-f"])

    def start_pacemaker(self) -> None:
        """Once both nodes have a corosync."""
        wait_for(f"corosync of {self.name} has a quorum", lambda: re.search("Quorate: +Yes", self.run("corosync-quorumtool", "-s")), 60 * SLOW)
        self._start([*self._launcher, "env", "PCMK_logfile=/var/log/pacemaker/pacemaker.log", "PCMK_logfacility=none", "pacemakerd"])

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self._files / "daemons.out").open("ab") as log:
            self._daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self._daemons[-1]

    def run(self, *command: str) -> str:
        """What it prints."""
        return subprocess.run([*self._launcher, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=60 * SLOW).stdout

    def close(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def describe(self) -> str:
        paths = [self._files / "daemons.out", *sorted((self._files / "log").glob("*.log"))]
        return "\n".join(f"---- {self.name} {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in paths if path.exists())


class Cluster:
    def __init__(self, hosts: LibvirtHosts) -> None:
        self._hosts = hosts
        both = (hosts.a, hosts.b)
        conf = COROSYNC_CONF.format(nodes="".join(NODE.format(name=host.name, address=host.address, number=number)
                                                  for number, host in enumerate(both, 1)))
        self.nodes = [Node(host, hosts.directory / host.name / "cluster", conf) for host in both]

    def start(self) -> None:
        for node in self.nodes:
            node.start_corosync()
        for node in self.nodes:
            node.start_pacemaker()
        names = " ".join(node.name for node in self.nodes)
        wait_for("both nodes are online", lambda: f"Online: [ {names} ]" in self.status(), 180 * SLOW, 0.5)
        # There is nothing here to fence a node with.
        self.nodes[0].run("crm_attribute", "--type", "crm_config", "--name", "stonith-enabled", "--update", "false")

    def status(self) -> str:
        return self.nodes[0].run("crm_mon", "-1")

    def manage(self, vm: LibvirtVm, **parameters: str) -> None:
        """Gives a running VM to the cluster. @param parameters of VirtualDomain, beside its configuration"""
        every = {"config": str(self._hosts.directory / f"{vm.name}.xml"), "hypervisor": "qemu:///system", **parameters}
        pairs = "".join(f'<nvpair id="{vm.name}-{name}" name="{name}" value="{value}"/>' for name, value in every.items())
        self.nodes[0].run("cibadmin", "--create", "-o", "resources", "--xml-text", RESOURCE.format(name=vm.name, parameters=pairs))
        self.wait_started(vm, vm.host)

    def wait_started(self, vm: LibvirtVm, host: LibvirtHost) -> None:
        wait_for(f"{vm.name} is started on {host.name}", lambda: re.search(rf"{vm.name}\s.*Started {host.name}\b", self.status()), 180 * SLOW, 0.5)

    def standby(self, host: LibvirtHost) -> None:
        """Its VMs move."""
        self.nodes[0].run("crm_attribute", "--node", host.name, "--name", "standby", "--update", "on")

    def describe(self) -> str:
        return "\n".join([self.status(), *(node.describe() for node in self.nodes)])

    def close(self) -> None:
        for node in self.nodes:
            node.close()
