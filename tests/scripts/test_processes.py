# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests know of processes that end while they look."""

import os
import subprocess
import time

from gclab.processes import children, kill

SLEEP = ["/bin/sleep", "60"]


def test_children_of_one_that_has_ended_are_none() -> None:
    process = subprocess.Popen(SLEEP)
    assert process.pid in children(os.getpid())
    process.kill()
    process.wait()
    assert children(process.pid) == []


def test_children_of_those_that_end_meanwhile_are_none_or_some() -> None:
    for _ in range(20):
        with subprocess.Popen(["/bin/sh", "-c", "sleep 0.01 & wait"]) as shell:
            while shell.poll() is None:
                assert len(children(shell.pid)) <= 1


def test_one_that_is_killed_has_ended() -> None:
    # Not a child of this process: nobody has waited for it when kill() returns.
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout
    begun = time.monotonic()
    kill(int(shell.stdout.readline()), 10)
    shell.wait(10)
    shell.stdout.close()
    assert time.monotonic() - begun < 10
