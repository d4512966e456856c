"""Lanes drawn from a seed: limits of every kind, hints of every form, told and hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from headrace.limits import Dimension, Limit, Load, Quota
from headrace.simulator.holds import Concurrency
from headrace.simulator.limiters import (
    FixedWindow,
    Gcra,
    Limiter,
    SlidingLog,
    SubWindow,
    TokenBucket,
)
from headrace.simulator.rules import Change, LaneRules, OtherTenant, Refused, Rule
from headrace.testing.lane_model import LaneModel

Hint = Callable[[Refused, float], float | None]
FEW = 8
"""Calls that a limit holds at once."""
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


@dataclass
class Mixed:
    """A lane of several limits, and the seconds that its items need at the least it ever allows.

    ``width`` is how many calls it bears at once, ``math.inf`` where it does not mind. It is
    ``crossed`` where others take single calls out of what holds few, or places in flight of
    which no refusal speaks: there a refusal says next to nothing of our own pace.
    """

    model: LaneModel
    least_s: float
    width: float
    crossed: bool


def mixed(seed: int, items: int, told: bool) -> Mixed:
    """Return a lane of requests and, each as the lot falls, tokens, calls in flight, changes
    of the limits to 0.4 to 1.6 times themselves, and another user of up to 40 % of the key.
    """
    random = Random(seed)
    limit, rate = limiter(random)
    rules, limits = [Rule(Dimension.REQUESTS, limit)], [Limit(Dimension.REQUESTS, rate * 60, 60.0)]
    low = random.choice([1, 80, 1000])
    costs = (low, low * random.choice([1, 3]))
    pace, each = rate, 0.0
    if random.random() < 0.6:
        each = sum(costs) / 2 * math.exp(random.uniform(math.log(0.4), math.log(2.5)))
        pace = min(rate, rate * each / (sum(costs) / 2))
        rules.append(Rule(Dimension.TOKENS, _tokens(random, rate * each, 8.0 * costs[1])))
        limits.append(Limit(Dimension.TOKENS, rate * each * 60, 60.0))
    took_s, width = random.choice([0.2, 1.0, 3.0]), math.inf
    if random.random() < 0.5:
        width = random.choice([2, 5, 12, 40])
        rules.append(Rule(Dimension.CONCURRENCY, Concurrency(width)))
        limits.append(Limit(Dimension.CONCURRENCY, width))
    changes = _changes(random, items / pace) if random.random() < 0.6 else []
    lowest = min([1.0, *(one.factor for one in changes)])
    share = random.uniform(0.05, 0.4) if random.random() < 0.5 else 0.0
    # So many that they leave something at the lowest of all changes, too.
    others = OtherTenant(
        max(1e-9, share * rate * lowest),
        Load(tokens=round(each)),
        0.0 if math.isinf(width) else max(1.0, width * lowest // 1) / (rate * lowest),
        seed,
        insists=random.random() < 0.5,
    )
    model = LaneModel(
        LaneRules(rules, changes=changes, other=others if share else None),
        Quota(8, tuple(limits), rate_start=2.0) if told else REMOTE,
        latency(took_s),
        items,
        load=Load(tokens=costs[0] if each else 0),
        hint=random.choice([no_hint, exact, whole_seconds]),
        seed=seed,
        names=random.random() < 0.5,
        tokens=costs if each else None,
    )
    places = max(1.0, width * lowest // 1) if width < math.inf else math.inf
    left = min(pace * lowest, places / (took_s * 1.1)) * (1.0 - share)
    few = held(limit) < FEW or (width < math.inf and not model.names)
    return Mixed(model, items / left, width, share > 0 and few)


def held(limit: Limiter) -> float:
    """Return what a limit lets through at once."""
    for name in ("capacity", "burst", "amount"):
        if hasattr(limit, name):
            return float(getattr(limit, name))
    return math.inf


def _tokens(random: Random, rate: float, least: float) -> Limiter:
    """Return a limit on tokens that holds ``least`` at once, which any call fits in."""
    window_s = random.choice([5, 10, 60])
    amount = max(least, rate * window_s)
    kind = random.choice(["bucket", "strict", "fixed", "sliding"])
    if kind == "bucket":
        return TokenBucket(rate, max(least, random.choice([1, 10, 60]) * rate))
    if kind == "strict":
        return Gcra(rate, least)
    if kind == "fixed":
        return FixedWindow(amount, amount / rate, random.uniform(0, window_s))
    return SlidingLog(amount, amount / rate)


def _changes(random: Random, span_s: float) -> list[Change]:
    """Return one to three changes, one after another, of all limits or of requests alone."""
    changes: list[Change] = []
    at_s = random.uniform(0.0, span_s)
    for _ in range(random.randint(1, 3)):
        until_s = at_s + random.uniform(0.1, 0.6) * span_s
        about = random.choice([None, None, Dimension.REQUESTS])
        changes.append(Change(at_s, random.uniform(0.4, 1.6), until_s, about))
        at_s = until_s + random.choice([0.0, 0.2 * span_s])
    return changes
