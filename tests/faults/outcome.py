# SPDX-License-Identifier: GPL-2.0-or-later
"""What a fault has led to: where the VM runs, and whether each party says so."""

import threading
import time
from dataclasses import dataclass
from enum import Enum

from gclab.gcctl import EXIT_DONE
from gclab.qmp import QmpError
from gclab.vm import Vm
from gclab.wait import Deadline

ANSWER_TIMEOUT = 3  # seconds: the monitor of a QEMU that is in trouble may never answer
MAX_IDLE = 5  # seconds without a character on the guest's meter
HUNG = "does not answer"
ENDED = "ended"


class Outcome(Enum):
    COMPLETED = "completed"
    COMPLETED_WRONG_STATUS = "completed, wrong status"
    ROLLED_BACK = "rolled back"
    SOURCE_RUNS_DESTINATION_LEFT = "destination left"  # a QEMU there that nobody ends
    STRANDED = "stranded"  # the VM runs nowhere, all of it exists, and no command finishes it
    RECOVERED = "recovered"  # stranded, and then finished by what `gcctl status` says
    HUNG = "gcctl hung"  # and the VM runs nowhere
    LOST = "lost"
    TWO_RUNNING = "two running"
    CORRUPT = "corrupt"
    MISSED = "missed"  # the fault came too late, or there was nothing for it


def ask(vm: Vm, command: str) -> str:
    """The `status` in the answer of a QEMU that may have ended or hang."""
    answer: list[str] = []

    def run() -> None:
        try:
            answer.append(str(vm.command(command).get("status", "none")))
        except (OSError, EOFError, QmpError) as error:
            answer.append(f"monitor: {error}")

    if vm.ended():
        return ENDED
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER_TIMEOUT)
    return answer[0] if answer else HUNG


def advances(vm: Vm, seconds: float) -> bool:
    """Whether the guest finishes a whole pass over its memory in that time. Gives up early on a guest that does
    nothing at all."""
    before = {cpu: progress.passes for cpu, progress in vm.progress().items()}
    deadline, idle, metered = Deadline(seconds), Deadline(MAX_IDLE), vm.metered()
    while not deadline.passed() and not idle.passed() and not vm.ended():
        # The first report may be of a pass that was nearly done.
        if any(progress.passes >= before.get(cpu, 0) + 2 for cpu, progress in vm.progress().items()):
            return True
        if vm.metered() != metered:
            idle, metered = Deadline(MAX_IDLE), vm.metered()
        time.sleep(0.05)
    return False


@dataclass
class End:
    """One QEMU when the fault's consequences have come to rest."""

    status: str
    migration: str
    errors: int  # that the guest has found in its memory
    runs: bool = False

    @property
    def ended(self) -> bool:
        return self.status == ENDED


def look_at(vm: Vm) -> End:
    console = vm.serial()
    return End(ask(vm, "query-status"), ask(vm, "query-migrate"), console.count("ERR ") + console.count("PANIC"))


def judge(source_vm: Vm, destination_vm: Vm, statuses: dict[str, int | None], passes_within: float) -> tuple[Outcome, End, End]:
    """`statuses`: the exit statuses of both gcctls, None for one that has not ended."""
    source, destination = look_at(source_vm), look_at(destination_vm)
    source.runs = source.status == "running" and advances(source_vm, passes_within)
    destination.runs = destination.status in ("running", HUNG) and advances(destination_vm, passes_within)
    # Passes found more errors, or none.
    source.errors, destination.errors = (look_at(vm).errors for vm in (source_vm, destination_vm))
    return _outcome(source, destination, statuses), source, destination


def _outcome(source: End, destination: End, statuses: dict[str, int | None]) -> Outcome:
    if source.status == "running" and destination.status == "running":
        return Outcome.TWO_RUNNING
    if source.errors or destination.errors:
        return Outcome.CORRUPT
    if destination.runs and destination.migration == "completed":
        right = all(status == EXIT_DONE for status in statuses.values())
        return Outcome.COMPLETED if right else Outcome.COMPLETED_WRONG_STATUS
    if source.runs:
        return Outcome.ROLLED_BACK if destination.ended else Outcome.SOURCE_RUNS_DESTINATION_LEFT
    if source.ended or (destination.ended and source.migration in ("postcopy-active", "postcopy-paused") and
                        statuses["receive"] != EXIT_DONE and destination.migration == ENDED):
        return Outcome.LOST
    if None in statuses.values():
        return Outcome.HUNG
    return Outcome.STRANDED
