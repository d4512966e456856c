"""Who runs in a scenario, and what each is given."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

from bench.admission.job import Job
from bench.admission.scenario import Scenario

PLACES, PLACES_PACED, PLACES_FAST = 10, 200, 300
PATIENCE, PATIENCE_BY_HAND, PATIENCE_S = 1.6, 1.1, 20.0
"""A client may take so many times the ideal time, and so many seconds, before it is stopped.

What a client by hand has reached by then says enough: its pace does not change."""

UNITS_OURS = 3
"""A run of ours takes so many times the CPU of one by hand, its database and start included."""
CLIENTS = {
    "ours": "headrace, its database included",
    "A": "semaphore, backoff",
    "B": "token bucket, backoff",
}
GUESS = 0.5
"""What the token bucket takes a hidden rate for: half of what it is, as the careful do."""


@dataclass(frozen=True)
class Planned:
    """A run that is to be made."""

    case: Scenario
    client: str
    module: str
    job: Job
    units: int


def clients_of(case: Scenario) -> list[str]:
    """Return who runs: a token bucket only where there is a rate."""
    if case.kind == "workers":
        return ["ours"]
    if not case.true_rates():
        return ["ours", "A"]
    return ["ours", "A", "B"]


def plan(case: Scenario, options: argparse.Namespace) -> list[Planned]:
    """Return the runs of a scenario."""
    wanted = [one for one in clients_of(case) if not options.client or one in options.client]
    if not wanted:
        return []
    count = case.count(options.seed)
    found = []
    for client in wanted:
        is_ours = client == "ours"
        patience = PATIENCE if is_ours else PATIENCE_BY_HAND
        module = "bench.admission.ours" if is_ours else "bench.admission.byhand"
        job = Job(
            url="",
            home="",
            scenario=asdict(case),
            items=count,
            seed=options.seed,
            limit_s=case.duration_s * patience + PATIENCE_S,
            rates=_rates(case, client),
            concurrency=_places(case, client),
        )
        units = case.units * (UNITS_OURS if is_ours else 1)
        found.append(Planned(case, client, module, job, units))
    return found


def _rates(case: Scenario, client: str) -> dict[str, float]:
    if client != "B":
        return {}
    guess = GUESS if case.know == "hidden" else 1.0
    return {name: rate * guess for name, rate in case.true_rates().items()}


def _places(case: Scenario, client: str) -> int:
    told = case.told.get("concurrency")
    if told:
        return int(told)
    if client != "A":
        return PLACES_PACED
    return PLACES_FAST if case.situation == "high rate" else PLACES
