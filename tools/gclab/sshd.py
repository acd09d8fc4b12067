# SPDX-License-Identifier: GPL-2.0-or-later
"""An OpenSSH server in a network namespace, with keys made for one test."""

import subprocess
from pathlib import Path

from .environment import SLOW
from .network import Namespace, run
from .wait import wait_for

CONFIG = """
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PasswordAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
"""


class Sshd:
    port = 2222

    def __init__(self, directory: Path, address: str, namespace: Namespace) -> None:
        self.directory, self.address = directory, address
        for key in ("host_key", "user_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key))
        public = (directory / "host_key.pub").read_text()
        (directory / "known_hosts").write_text(f"[{address}]:{self.port} {public}")
        config = directory / "sshd_config"
        config.write_text(CONFIG.format(port=self.port, address=address, directory=directory))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it refuses to run without
        log = (directory / "sshd.err").open("wb")
        self.process = subprocess.Popen(namespace.command("/usr/sbin/sshd", "-D", "-e", "-f", str(config)), stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log)
        log.close()
        wait_for("sshd listens", lambda: "Server listening" in (directory / "sshd.err").read_text(), 20 * SLOW)

    @property
    def command(self) -> str:
        """For --ssh."""
        return (f"ssh -F none -i {self.directory}/user_key -o IdentitiesOnly=yes -o BatchMode=yes "
                f"-o UserKnownHostsFile={self.directory}/known_hosts -o StrictHostKeyChecking=yes")

    def url(self, qmp: str) -> str:
        return f"ssh://root@{self.address}:{self.port}{qmp}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10 * SLOW)
