# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever breaks: never two running VMs, no wrong word, nothing left behind, and what is stranded is finished by what
`gcctl status` says. GC_FAULTS_SEED chooses other moments."""

import os
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from expected import violations
from plan import Planned, numbered, random_plan, started
from trial import Result

COUNT, JOBS, WAIT = 100, 4, 40
SEED = int(os.environ.get("GC_FAULTS_SEED", "1"))
PLAN = numbered(random_plan(COUNT, SEED), SEED)
MAX_TRIAL = 180  # seconds, its rescue included


def _planned(item: pytest.Item) -> Planned | None:
    parameters = getattr(item, "callspec", None)
    return parameters.params.get("planned") if parameters else None


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[dict[Planned, Future[Result]]]:
    chosen = [planned for item in request.session.items if (planned := _planned(item))]
    with started(chosen, WAIT, JOBS) as futures:
        yield dict(zip(chosen, futures, strict=True))


@pytest.mark.parametrize("planned", PLAN, ids=str)
def test_sweep(results: dict[Planned, Future[Result]], planned: Planned) -> None:
    result = results[planned].result(MAX_TRIAL)
    assert violations(result) == [], result
