# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator does after a fault: asks `gcctl status` at both ends, and types what it says."""

import json
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

from faults import Scene
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE, Gcctl, run, state_env
from gclab.processes import kill
from gclab.testbed import Testbed

# What happens to a recovery. The other gcctl waits for one that is killed, and the operator types its command again.
SECOND_FAULTS = ("nothing", "cut", "kill-migrate", "kill-receive")
Migrations = dict[str, dict[str, Any]]  # by role


class NoCommand(Exception):
    """Nothing that gcctl says finishes the migration."""


def rescue(scene: Scene, testbed: Testbed) -> list[str]:
    """Returns the commands that were typed. The VM is whole and runs afterwards."""
    typed = _end_living(scene)
    for _ in range(4):
        found = {role: migration for role, migration in _status(testbed).items() if migration["standing"] == "stranded"}
        source, destination = found.get("source"), found.get("destination")
        if destination and any(line.startswith("kill ") for line in destination["type"]):
            typed += _kill(destination)
        elif source and destination and "verdict" in destination:
            return typed + [_take_back(source, scene, testbed, "--verdict", destination["verdict"])]
        elif source and source["type"][:1] and source["type"][0].startswith("gcctl take-back "):
            return typed + [_take_back(source, scene, testbed)]
        elif source and destination:
            return typed + _recover(source, destination, scene, testbed)
        else:
            raise NoCommand(f"gcctl status: {json.dumps(found)}")
    raise NoCommand("killing does not help")


def _status(testbed: Testbed) -> Migrations:
    done = run("status", "--json", env=state_env(testbed.directory))
    assert done.returncode == EXIT_DONE, done.stderr
    return {migration["role"]: migration for migration in json.loads(done.stdout)}


def _end_living(scene: Scene) -> list[str]:
    """One of the two has died, and the other one waits for it."""
    return [line for gcctl in (scene.migrate, scene.receive) if gcctl.process.poll() is None for line in _end(gcctl)]


def _end(gcctl: Gcctl) -> list[str]:
    typed = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        gcctl.signal(number)
        typed.append(f"kill -{number.name[3:]} {gcctl.command}")
        with suppress(subprocess.TimeoutExpired):
            gcctl.wait(5)
            break
    return typed


def _kill(migration: dict[str, Any]) -> list[str]:
    for line in migration["type"]:
        pid = int(line.split()[1])
        assert pid == migration["qemu"]["pid"]
        kill(pid, 10 * SLOW)
    return list(migration["type"])


def _take_back(source: dict[str, Any], scene: Scene, testbed: Testbed, *verdict: str) -> str:
    arguments = ("take-back", "--qmp", source["qmp"], *verdict)
    done = run(*arguments, env=state_env(testbed.directory), launcher=scene.wire.near.launcher, timeout=60 * SLOW)
    if done.returncode != EXIT_DONE:
        raise NoCommand(done.stderr)
    return shlex.join(arguments)


def _recover(source: dict[str, Any], destination: dict[str, Any], scene: Scene, testbed: Testbed) -> list[str]:
    for migration in (source, destination):
        if not migration["type"] or not migration["type"][0].startswith("gcctl recover "):
            raise NoCommand(f"gcctl status: {json.dumps(migration)}")
    receive = _start(destination, testbed, scene.wire.far.launcher)
    # It was told to listen on any free port.
    port = receive.wait_event("listening")["port"]
    to = f"{scene.wire.far_address}:{port}"
    migrate = _start(source, testbed, scene.wire.near.launcher, to)
    typed = [destination["type"][0], source["type"][0]]
    second = scene.random.choice(SECOND_FAULTS)
    time.sleep(scene.random.uniform(0, 0.5))
    if second == "cut" and migrate.process.poll() is None:
        scene.wire.do("down")
        time.sleep(scene.random.uniform(0.5, 4))
        scene.wire.do("up")
    elif second == "kill-migrate" and migrate.process.poll() is None:
        _kill_gcctl(migrate)
        typed.append(second)
        with suppress(subprocess.TimeoutExpired):
            if receive.wait(1) == EXIT_DONE:
                return typed  # it had everything
        migrate = _start(source, testbed, scene.wire.near.launcher, to)
        typed.append(source["type"][0])
    elif second == "kill-receive" and receive.process.poll() is None:
        _kill_gcctl(receive)
        receive = _start(destination, testbed, scene.wire.far.launcher, port=port)
        typed += [second, destination["type"][0]]
    for gcctl in (migrate, receive):
        status = gcctl.wait(60)
        if status != EXIT_DONE:
            raise NoCommand(f"gcctl recover, {second}: {status}: {gcctl.errors()}")
    return typed


def _kill_gcctl(gcctl: Gcctl) -> None:
    gcctl.signal(signal.SIGKILL)
    gcctl.wait()


def _start(migration: dict[str, Any], testbed: Testbed, launcher: tuple[str, ...], to: str | None = None,
           port: int | None = None) -> Gcctl:
    words = [word for word in shlex.split(migration["type"][0])[1:] if word != "--json"]
    if to:
        words[words.index("--to") + 1] = to
    if port:
        at = words.index("--listen") + 1
        words[at] = words[at].rpartition(":")[0] + f":{port}"
    # What is slow for the sake of the fault need not be so now.
    if "--bandwidth" in words:
        at = words.index("--bandwidth")
        del words[at:at + 2]
    return testbed.gcctl(words[0], *words[1:], launcher=launcher)
