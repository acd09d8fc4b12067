# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to move a VM to the far host: gcctl, and unmodified QEMU talking to itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .far_host import Far
from .testbed import Testbed
from .vm import Spec, Vm
from .wait import Deadline

PORT = 4444
# After that many seconds without convergence, pre-copy may stop the VM for as long as it takes, as an operator would
# allow it.
PRECOPY_PATIENCE = 15.0
MAX_DOWNTIME_MS = 2_000_000  # QEMU's limit (migration/options.c)


@dataclass
class Moving:
    """A migration in progress. `switched` and `over` may be called at any time and repeatedly."""

    destination: Any  # a Vm of either host; None without a migration
    switched: Callable[[], bool]  # whether the VM has been stopped at the source
    over: Callable[[], bool]
    check: Callable[[], dict[str, Any]]  # when it is over: asserts success; returns gcctl's report, empty for QEMU's own
    demand: list[tuple[float, int]] = field(default_factory=list)  # (time.time(), pages requested so far), of QEMU's own


Mover = Callable[[Testbed, Far, Vm, Spec], Moving]


def gcctl(*options: str, guide: str = "on", receive_options: tuple[str, ...] = ()) -> Mover:
    def move(testbed: Testbed, far: Far, source: Vm, spec: Spec) -> Moving:
        migration = testbed.migrate(source, spec, *options, guide=guide, receive_options=receive_options, far=far)
        return Moving(migration.destination, lambda: migration.migrate.event("switch-over") is not None,
                      lambda: migration.migrate.process.poll() is not None, lambda: migration.wait_completed(spec))

    return move


def start_qemu(testbed: Testbed, far: Far, source: Vm, spec: Spec, *capabilities: str, **parameters: int) -> Any:
    """Makes the source's QEMU migrate to a new one, which it returns. The parameters are the source's."""
    destination = far.testbed(testbed).start(spec.but(launcher=far.launcher), "destination", incoming=True)
    source.set_capabilities(capabilities)
    destination.set_capabilities([*capabilities, "postcopy-blocktime"])
    if parameters:
        source.command("migrate-set-parameters", **parameters)
    destination.command("migrate-incoming", uri=f"tcp:{far.address}:{PORT}")
    source.command("migrate", uri=f"tcp:{far.address}:{PORT}")
    return destination


def moving_qemu(source: Vm, destination: Any) -> Moving:
    demand: list[tuple[float, int]] = []

    def over() -> bool:
        state = source.command("query-migrate")
        if "ram" in state:
            demand.append((time.time(), state["ram"].get("postcopy-requests", 0)))
        return state.get("status") in ("completed", "failed")

    def check() -> dict[str, Any]:
        assert source.migration_status() == "completed", source.errors()
        return {}

    return Moving(destination, lambda: source.migration_status() not in ("setup", "active"), over, check, demand)


def qemu_postcopy(*more: str, **parameters: int) -> Mover:
    def move(testbed: Testbed, far: Far, source: Vm, spec: Spec) -> Moving:
        destination = start_qemu(testbed, far, source, spec, "postcopy-ram", *more, **parameters)
        source.command("migrate-start-postcopy")
        return moving_qemu(source, destination)

    return move


def qemu_precopy() -> Mover:
    def move(testbed: Testbed, far: Far, source: Vm, spec: Spec) -> Moving:
        moving = moving_qemu(source, start_qemu(testbed, far, source, spec))
        patience: Deadline | None = Deadline(PRECOPY_PATIENCE)

        def switched() -> bool:
            nonlocal patience
            if patience and patience.passed():
                patience = None
                source.command("migrate-set-parameters", downtime_limit=MAX_DOWNTIME_MS)
            return source.status() != "running"

        moving.switched = switched
        return moving

    return move
