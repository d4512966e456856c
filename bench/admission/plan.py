"""Who runs in a scenario, and what each is given."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

from bench.admission.job import Job
from bench.admission.scenario import Scenario, told_rates

PLACES, PLACES_PACED, PLACES_FAST = 10, 200, 300
PATIENCE, PATIENCE_S = 1.6, 30.0
"""A client may take so many times the ideal time, and so many seconds, before it is stopped."""

CLIENTS = {
    "ours": "headrace, its database included",
    "A": "semaphore, backoff",
    "B": "token bucket at the true rate, backoff",
    "B/2": "token bucket at half the true rate, backoff",
    "B*2": "token bucket at twice the true rate, backoff",
}
_GUESSES = {"B": 1.0, "B/2": 0.5, "B*2": 2.0}


@dataclass(frozen=True)
class Planned:
    """A run that is to be made."""

    case: Scenario
    client: str
    module: str
    job: Job


def clients_of(case: Scenario) -> list[str]:
    """Return who runs: a token bucket only where there is a rate, by guesses where it is hidden."""
    if case.kind == "workers":
        return ["ours"]
    if not case.true_rates():
        return ["ours", "A"]
    if case.know != "hidden":
        return ["ours", "A", "B"]
    return ["ours", "A", "B/2", "B*2"]


def plan(case: Scenario, options: argparse.Namespace) -> list[Planned]:
    """Return the runs of a scenario."""
    wanted = [one for one in clients_of(case) if not options.client or one in options.client]
    if not wanted:
        return []
    count = case.count(options.seed)
    limit_s = case.duration_s * PATIENCE + PATIENCE_S
    found = []
    for client in wanted:
        module = "bench.admission.ours" if client == "ours" else "bench.admission.byhand"
        job = Job(
            url="",
            home="",
            scenario=asdict(case),
            items=count,
            seed=options.seed,
            limit_s=limit_s,
            rates=_rates(case, client),
            concurrency=_places(case, client),
        )
        found.append(Planned(case, client, module, job))
    return found


def _rates(case: Scenario, client: str) -> dict[str, float]:
    if client not in _GUESSES:
        return {}
    rates = told_rates(case.told) or case.true_rates()
    return {name: rate * _GUESSES[client] for name, rate in rates.items()}


def _places(case: Scenario, client: str) -> int:
    told = case.told.get("concurrency")
    if told:
        return int(told)
    if client != "A":
        return PLACES_PACED
    return PLACES_FAST if case.situation == "high rate" else PLACES
