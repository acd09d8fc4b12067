# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to move a VM to the far host: gcctl, and unmodified QEMU talking to itself."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.bench import Bench  # noqa: E402
from harness.second_host import Far, There  # noqa: E402
from harness.vm import Spec, Vm  # noqa: E402

PORT = 4444
# A pre-copy that has not converged by then is let stop the VM for as long as it takes, as an operator would.
PRECOPY_PATIENCE = 15.0  # seconds
LONGEST_DOWNTIME = 2_000_000  # ms: QEMU's limit (migration/options.c)


@dataclass
class Moving:
    """A migration under way. `switched` and `over` may be called at any time, as often as one likes."""

    destination: Vm | There | None
    switched: Callable[[], bool]  # whether the VM has been stopped at the source
    over: Callable[[], bool]
    check: Callable[[], dict[str, Any]]  # when it is over: asserts that it went well; gcctl's report, or nothing
    demand: list[tuple[float, int]] = field(default_factory=list)  # (time.time(), pages requested so far), where QEMU tells


Mover = Callable[[Bench, Far, Vm, Spec], Moving]


def gcctl(*options: str, guide: str = "on", receive_options: tuple[str, ...] = ()) -> Mover:
    def move(bench: Bench, far: Far, source: Vm, spec: Spec) -> Moving:
        migration = bench.migrate(source, spec, *options, guide=guide, receive_options=receive_options, far=far)
        return Moving(migration.destination, lambda: migration.migrate.event("switch-over") is not None,
                      lambda: migration.migrate.process.poll() is not None, lambda: migration.wait_completed(spec))

    return move


def start_qemu(bench: Bench, far: Far, source: Vm, spec: Spec, *capabilities: str, **parameters: int) -> Vm | There:
    """Has the source's QEMU migrate to a new one, which it returns. The parameters are the source's."""
    destination = far.bench(bench).start(spec.but(enter=far.enter), "destination", incoming=True)
    for vm in (source, destination):
        vm.command("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in capabilities])
    if parameters:
        source.qmp.command("migrate-set-parameters", **parameters)
    destination.command("migrate-incoming", uri=f"tcp:{far.address}:{PORT}")
    source.qmp.command("migrate", uri=f"tcp:{far.address}:{PORT}")
    return destination


def moving_qemu(source: Vm, destination: Vm | There) -> Moving:
    demand: list[tuple[float, int]] = []

    def over() -> bool:
        state = source.qmp.command("query-migrate")
        if "ram" in state:
            demand.append((time.time(), state["ram"].get("postcopy-requests", 0)))
        return state.get("status") in ("completed", "failed")

    def check() -> dict[str, Any]:
        assert source.migration_status() == "completed", source.errors()
        return {}

    return Moving(destination, lambda: source.migration_status() not in ("setup", "active"), over, check, demand)


def qemu_postcopy(*more: str, **parameters: int) -> Mover:
    def move(bench: Bench, far: Far, source: Vm, spec: Spec) -> Moving:
        destination = start_qemu(bench, far, source, spec, "postcopy-ram", *more, **parameters)
        source.qmp.command("migrate-start-postcopy")
        return moving_qemu(source, destination)

    return move


def qemu_precopy() -> Mover:
    def move(bench: Bench, far: Far, source: Vm, spec: Spec) -> Moving:
        destination = start_qemu(bench, far, source, spec)
        moving, begin, patient = moving_qemu(source, destination), time.monotonic(), [True]

        def switched() -> bool:
            if patient and time.monotonic() > begin + PRECOPY_PATIENCE:
                patient.clear()
                source.qmp.command("migrate-set-parameters", downtime_limit=LONGEST_DOWNTIME)
            return source.status() not in ("running",)

        moving.switched = switched
        return moving

    return move
