# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/lab --hosts 2: the first host reaches the second, and what goes wrong on the second is not lost."""

import subprocess
import time
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
EXIT_KERNEL_LOG, EXIT_LAB = 70, 125
TIMEOUT = 150
CONNECTED = """
import subprocess, sys, time
sys.path.insert(0, "tests/e2e")
from harness.second_host import far_host, manager
"""


def lab(log: Path, script: str) -> subprocess.Popen[str]:
    """Runs a Python script on the first host."""
    return subprocess.Popen([TREE / "scripts" / "lab", "--hosts", "2", "--no-nested", "--smp", "1", "--mem", "1G",
                             "--timeout", str(TIMEOUT), "--log", log, "--", "/usr/bin/python3", "-c", CONNECTED + script],
                            cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(log: Path, script: str) -> tuple[int, str]:
    with lab(log, script) as process:
        said = process.communicate(timeout=TIMEOUT + 60)[0]
        return process.returncode, said


def on_second(shell: str) -> str:
    return f"manager().Host().run('sh', '-c', {shell!r})\n"


def left_over(log: Path) -> list[str]:
    """The QEMUs of that lab that run, which have the log on their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # gone meanwhile
        if str(log) in command and "qemu-system" in command:
            found.append(command)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console"


def test_a_stream_crosses_the_link_at_its_rate_and_all_ends(log: Path) -> None:
    status, said = run(log, """
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
    assert (status, said.strip()) == (3, "as expected")
    assert not left_over(log)


def test_a_warning_in_the_second_kernel_fails_the_run(log: Path) -> None:
    status, said = run(log, on_second("echo 'WARNING: only a test' >/dev/kmsg") + "time.sleep(2)")
    assert status == EXIT_KERNEL_LOG, said
    assert "only a test" in said


def test_the_end_of_the_second_is_the_end_of_both(log: Path) -> None:
    status, said = run(log, on_second("(sleep 1; echo o >/proc/sysrq-trigger) &") + f"time.sleep({TIMEOUT})")
    assert status == EXIT_LAB, said
    assert "the second host: " in said
    assert not left_over(log)


def test_neither_outlives_the_lab(log: Path) -> None:
    with lab(log, f"manager(); print('both run', flush=True); time.sleep({TIMEOUT})") as process:
        assert process.stdout
        assert "both run" in process.stdout.readline()
        assert len(left_over(log)) == 2
        process.terminate()
    deadline = time.monotonic() + 10
    while left_over(log) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_over(log)
