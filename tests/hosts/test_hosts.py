# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/lab --hosts 2: the first host reaches the second, and a failure of the second one fails the run."""

import subprocess
from pathlib import Path

from conftest import TIMEOUT, start_lab, wait_lab
from gclab.environment import PYTHON, TOOLS, TREE
from gclab.lab import EXIT_KERNEL_LOG, EXIT_LAB
from gclab.wait import wait_for

CONNECTED = f"""
import subprocess, sys, time
sys.path.insert(0, {str(TOOLS)!r})
from gclab.second_host import far_host, manager
"""


def start(log: Path, script: str) -> "subprocess.Popen[str]":
    """Runs a Python script on the first host."""
    return start_lab(TREE, "--hosts", "2", "--log", str(log), "--", PYTHON, "-c", CONNECTED + script)


def run(log: Path, script: str) -> tuple[int, str]:
    return wait_lab(start(log, script))


def on_second(shell: str) -> str:
    return f"manager().Host().run('sh', '-c', {shell!r})\n"


def qemus(log: Path) -> list[str]:
    """The running QEMUs of that lab, which have the log on their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # the process has ended
        if str(log) in command and "qemu-system" in command:
            found.append(command)
    return found


def test_a_stream_crosses_the_link_at_its_rate(log: Path) -> None:
    status, output = run(log, """
far = far_host("10mbit")
server = far.stream_server()
begin = time.time()
subprocess.run(["iperf3", "--client", far.address, "--bytes", "2M"], check=True, stdout=subprocess.DEVNULL)
server.wait()
rate = server.arrived() * 8 / (time.time() - begin)
far.close()
assert 0 < rate < 11e6, rate
print("as expected")
sys.exit(3)
""")
    assert (status, output.strip()) == (3, "as expected")
    assert not qemus(log)


def test_a_warning_in_the_second_kernel_fails_the_run(log: Path) -> None:
    status, output = run(log, on_second("echo 'WARNING: only a test' >/dev/kmsg") + "time.sleep(2)")
    assert status == EXIT_KERNEL_LOG, output
    assert "only a test" in output


def test_the_first_host_ends_with_the_second(log: Path) -> None:
    status, output = run(log, on_second("(sleep 1; echo o >/proc/sysrq-trigger) &") + f"time.sleep({TIMEOUT})")
    assert status == EXIT_LAB, output
    assert "the second host: " in output
    assert not qemus(log)


def test_both_hosts_end_with_the_lab(log: Path) -> None:
    with start(log, f"manager(); print('both run', flush=True); time.sleep({TIMEOUT})") as lab:
        assert lab.stdout
        assert "both run" in lab.stdout.readline()
        assert len(qemus(log)) == 2
        lab.terminate()
    wait_for("both QEMUs are gone", lambda: not qemus(log), 10)
