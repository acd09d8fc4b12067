# SPDX-License-Identifier: GPL-2.0-or-later
"""A destination that has too little memory for the VM refuses it before anything is touched."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gclab.gcctl import EXIT_FAILED, EXIT_REFUSED, run
from gclab.testbed import Testbed
from gclab.vm import MIB, Spec, Vm

LIMIT_MIB = 100


def memory_hierarchy() -> tuple[Path, str] | None:
    """The directory below which cgroups with a memory limit can be made, and the limit's file. Both versions will do."""
    for path in Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"):
        controllers = path / "cgroup.controllers"
        if controllers.exists() and "memory" in controllers.read_text().split():
            (path / "cgroup.subtree_control").write_text("+memory")
            return path, "memory.max"
        if (path / "memory.limit_in_bytes").exists():
            return path, "memory.limit_in_bytes"
    return None


@pytest.fixture
def limit() -> Iterator[Callable[[Vm, int], Path]]:
    """Puts a VM's QEMU into a cgroup with a limit in bytes."""
    found = memory_hierarchy() if os.geteuid() == 0 else None
    if not found:
        pytest.skip("needs root and a cgroup file system with the memory controller")
    hierarchy, name = found
    cgroup = hierarchy / f"gcctl-test-{os.getpid()}"
    cgroup.mkdir()

    def limit(vm: Vm, size: int) -> Path:
        (cgroup / name).write_text(str(size))
        (cgroup / "cgroup.procs").write_text(str(vm.process.pid))
        return cgroup

    yield limit
    for pid in (cgroup / "cgroup.procs").read_text().split():
        (hierarchy / "cgroup.procs").write_text(pid)
    cgroup.rmdir()


def test_the_cgroup_has_too_little(testbed: Testbed, limit: Callable[[Vm, int], Path]) -> None:
    destination = testbed.start(Spec(ram_mib=192), "destination", incoming=True)
    cgroup = limit(destination, LIMIT_MIB * MIB)
    receive = ("receive", "--qmp", destination.gcctl_qmp(), "--listen", "127.0.0.1:0", "--wait", "1ms")
    refused = run(*receive)
    assert refused.returncode == EXIT_REFUSED
    assert f"its cgroup {cgroup} leaves it " in refused.stderr and "raise the cgroup's limit, or give gcctl receive --allow-overcommit" in refused.stderr
    assert destination.status() == "inmigrate"
    taken = run(*receive, "--allow-overcommit")
    assert "no source connected" in taken.stderr


def test_a_limit_that_came_later(testbed: Testbed, limit: Callable[[Vm, int], Path]) -> None:
    """The source is told, its VM is not touched, and the destination goes on waiting."""
    spec = Spec(ram_mib=192)
    source = testbed.start_source(spec)
    destination = testbed.start(spec, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    port = receive.wait_event("listening")["port"]
    limit(destination, LIMIT_MIB * MIB)
    for option in ("--check",), ():
        migrate, _ = testbed.migrate_to(source, port, *option)
        assert migrate.wait() == EXIT_REFUSED
        assert "too little memory for the VM" in migrate.errors()
        assert any(e["fatal"] and "too little memory" in e["what"] for e in migrate.events() if e["event"] == "difference")
    # The source cannot decide it.
    migrate, _ = testbed.migrate_to(source, port, "--allow-differences")
    assert migrate.wait() == EXIT_FAILED
    assert "the destination refused the VM: too little memory for the VM" in migrate.errors()
    source.wait_running()
    limit(destination, 1024 * MIB)
    migrate, _ = testbed.migrate_to(source, port)
    assert migrate.wait() == 0, migrate.errors()
    destination.wait_running()
