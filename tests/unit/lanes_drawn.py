"""Lanes drawn from a seed: limits of every kind, hints of every form, told and hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from headrace.limits import Dimension, Limit, Quota
from headrace.simulator.limiters import (
    FixedWindow,
    Gcra,
    Limiter,
    SlidingLog,
    SubWindow,
    TokenBucket,
)
from headrace.simulator.rules import LaneRules, Refused, Rule
from headrace.testing.lane_model import LaneModel

Hint = Callable[[Refused, float], float | None]
REMOTE = Quota(concurrency=8, rate_start=2.0)


def no_hint(refused: Refused, now_s: float) -> float | None:
    """Name no wait."""
    return None


def exact(refused: Refused, now_s: float) -> float | None:
    """Name the wait to the millisecond."""
    return refused.wait_s if math.isfinite(refused.wait_s) else None


def whole_seconds(refused: Refused, now_s: float) -> float | None:
    """Name the wait in whole seconds, rounded up, as Retry-After does."""
    return max(1.0, math.ceil(refused.wait_s)) if math.isfinite(refused.wait_s) else None


def latency(median_s: float) -> Callable[[Random], float]:
    """Return latencies of which half are below ``median_s``."""
    return lambda random: median_s * math.exp(random.gauss(0, 0.4))


def limiter(random: Random) -> tuple[Limiter, float]:
    """Return a limit on requests and its rate, in calls a second."""
    rate = math.exp(random.uniform(math.log(2), math.log(80)))
    window_s = random.choice([1, 5, 10, 60])
    kind = random.choice(["bucket", "strict", "fixed", "sliding", "sub"])
    if kind == "bucket":
        return TokenBucket(rate, max(1.0, random.choice([2, 20, 10 * rate, 60 * rate]))), rate
    if kind == "strict":
        return Gcra(min(rate, 12.0), random.choice([1, 3])), min(rate, 12.0)
    amount = max(2, round(rate * window_s))
    if kind == "fixed":
        return FixedWindow(amount, window_s, random.uniform(0, window_s)), amount / window_s
    if kind == "sliding":
        return SlidingLog(amount, window_s), amount / window_s
    a_minute = max(120, round(rate) * 60)
    return SubWindow(a_minute, 60, 1), a_minute / 60


def drawn(seed: int, items: int, told: bool) -> tuple[LaneModel, float]:
    """Return a lane drawn from ``seed`` and the rate that its limit allows."""
    random = Random(seed)
    limit, rate = limiter(random)
    quota = REMOTE
    if told:
        here = Limit(Dimension.REQUESTS, rate * 60, 60.0)
        quota = Quota(concurrency=8, limits=(here,), rate_start=2.0)
    model = LaneModel(
        LaneRules([Rule(Dimension.REQUESTS, limit)]),
        quota,
        latency(random.choice([0.2, 1.0, 3.0])),
        items,
        hint=random.choice([no_hint, exact, whole_seconds]),
        seed=seed,
        until_s=50_000.0,
    )
    return model, rate
