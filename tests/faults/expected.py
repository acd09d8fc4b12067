# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold after any single fault."""

import re

from outcome import Outcome
from trial import Phase, Result

GOOD = {outcome.value for outcome in (Outcome.COMPLETED, Outcome.ROLLED_BACK, Outcome.RECOVERED, Outcome.MISSED)}
# The VM's only copy, or its only running one, was in the process that was killed.
KILLS_A_QEMU = ("kill-destination", "kill-source")
KILLS_A_GCCTL = ("kill-migrate", "kill-receive", "kill-migrate-and-guardian", "kill-receive-and-guardian", "kill-both-and-guardians")


def violations(result: Result) -> list[str]:
    """In plain words; empty if all is well."""
    found = [f"left behind: {left}" for left in result.left if not _is_of_a_killed_gcctl(left, result)]
    if result.outcome not in GOOD and not _is_inherent(result):
        found.append(f"outcome: {result.outcome or 'of the driver'}")
    if result.problem and result.outcome != Outcome.MISSED.value:
        found.append(result.problem.strip().splitlines()[-1])
    return found


def _is_of_a_killed_gcctl(left: str, result: Result) -> bool:
    """The directory of the socket on which QEMU listens exists for milliseconds (docs/operations/limits.md)."""
    return result.fault in KILLS_A_GCCTL and re.search(r"/gcctl-\w{6}$", left) is not None


def _is_inherent(result: Result) -> bool:
    match result.outcome:
        case Outcome.LOST.value:
            return result.fault in KILLS_A_QEMU
        case Outcome.COMPLETED_WRONG_STATUS.value:
            # A gcctl that was killed has no status of its own.
            return result.fault in KILLS_A_GCCTL
        case Outcome.CORRUPT.value:
            # QEMU's TCG loses writes during pre-copy, gcctl or not (docs/internals/faults.md).
            return result.phase == Phase.PRECOPY.value
        case Outcome.SOURCE_RUNS_DESTINATION_LEFT.value:
            # Nothing was touched yet: gcctl receive, if it lives, waits for the next source, and QEMU was not told to
            # listen. Or the commit had not come, and everybody who could have ended QEMU was killed.
            return (result.phase == Phase.BEGIN.value or result.destination.get("migration") == "none" or
                    result.fault in ("kill-receive-and-guardian", "kill-both-and-guardians"))
    return False
