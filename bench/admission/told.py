"""Limits that are told or announced: each kind of limiter with each form of the wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.admission.cases import lane, limit
from bench.admission.scenario import Scenario

KINDS = (
    ("bucket", 60), ("gcra", 60), ("fixed", 2), ("fixed", 10), ("fixed", 60),
    ("sliding", 2), ("sliding", 10), ("sliding", 60),
)  # fmt: skip
RATES, WAITS = (2, 20), ("none", "seconds", "ms", "date")
CALLS_MIN = 5


def told_cases() -> Iterator[Scenario]:
    """Yield the scenarios, named by limiter and seconds, calls a second, wait, and who tells."""
    for kind, window_s in KINDS:
        for rate in RATES:
            if rate * window_s < CALLS_MIN:
                continue
            more = {"burst": 2 * rate} if kind == "bucket" else {}
            one = limit("requests", kind, rate * window_s, window_s, **more)
            for wait in WAITS:
                for know in ("told", "announced"):
                    yield _case(f"{kind}{window_s}-{rate}-{wait}-{know}", one, wait, know, rate)


def _case(name: str, one: dict[str, Any], wait: str, know: str, rate: int) -> Scenario:
    headers: dict[str, Any] = {"headers": {"kind": "true"}} if know == "announced" else {}
    told = {"requests_per_minute": 60.0 * rate} if know == "told" else {}
    minutes = one["window_s"] >= 60
    return Scenario(
        name, f"{rate} a second", "told", lane(one, retry_after=wait, **headers), know, told,
        duration_s=200.0 if minutes else 90.0, learning_s=60.0 if minutes else 20.0,
    )  # fmt: skip
