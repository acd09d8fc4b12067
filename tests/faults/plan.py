# SPDX-License-Identifier: GPL-2.0-or-later
"""Which trials to run, and running several at a time: a trial mostly waits."""

import random
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from faults import FAULTS
from trial import Phase, Result, Trial

GUIDES = ("off", "on")  # by turns


@dataclass(frozen=True)
class Planned:
    fault: str
    phase: Phase
    seed: int

    @property
    def guide(self) -> str:
        return "on" if self.fault.endswith("guide") else GUIDES[self.seed % len(GUIDES)]

    def __str__(self) -> str:
        return f"{self.seed}-{self.fault}-{self.phase.value}-guide-{self.guide}"


def random_plan(count: int, seed: int) -> list[tuple[str, Phase]]:
    """The same for the same numbers: each fault in each phase, before any comes again."""
    every = [(fault, phase) for fault in FAULTS for phase in Phase if fault != "none"]
    choose = random.Random(seed)
    plan: list[tuple[str, Phase]] = []
    while len(plan) < count:
        plan += choose.sample(every, len(every))
    return plan[:count]


def numbered(plan: list[tuple[str, Phase]], seed: int) -> list[Planned]:
    return [Planned(fault, phase, number) for number, (fault, phase) in enumerate(plan, seed)]


def _run(planned: Planned, wait: float) -> Result:
    return Trial(planned.fault, planned.phase, planned.guide, planned.seed, wait).run()


@contextmanager
def started(plan: list[Planned], wait: float, jobs: int) -> Iterator[list[Future[Result]]]:
    """Their results, in order. At the end those that have not begun are dropped."""
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        try:
            yield [pool.submit(_run, planned, wait) for planned in plan]
        finally:
            pool.shutdown(cancel_futures=True)
