"""How long calls will take under the limits that are known of their lane."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.learned import Learned
from headrace.limits import Dimension, Load, Quota, start_width

UNKNOWN = "unknown: nothing learned yet"


@dataclass(frozen=True, slots=True)
class Forecast:
    """``time_s`` is ``None`` where nobody can know; ``words`` say what it is bound by."""

    time_s: float | None
    words: str


def forecast(calls: int, total: Load, quota: Quota, learned: Learned | None) -> Forecast:
    """Return how long ``calls`` that take ``total`` together will take at their lane."""
    if calls == 0:
        return Forecast(0.0, "nothing to make")
    found = [
        _by_rate(name, amount, quota, learned)
        for name, amount in (
            (Dimension.REQUESTS, float(total.requests)),
            (Dimension.TOKENS, float(total.tokens)),
            (Dimension.IMAGES, float(total.images)),
        )
        if amount > 0
    ]
    found.append(_by_width(calls, quota, learned))
    known = [one for one in found if one is not None]
    if not known:
        return Forecast(None, UNKNOWN)
    return max(known, key=lambda one: one.time_s or 0.0)


def _by_rate(
    name: Dimension, amount: float, quota: Quota, learned: Learned | None
) -> Forecast | None:
    """Return the time at a rate: the one held, or the one told, whose burst goes at once."""
    told = [
        (limit.amount / (limit.window_s or 60.0), limit.amount)
        for limit in quota.limits
        if limit.dimension is name and limit.amount
    ]
    rate, burst = min(told, default=(None, 0.0))
    seen = learned.rates.get(name.value) if learned is not None else None
    if seen is not None and seen.held and seen.pace is not None:
        rate = seen.pace if rate is None else min(rate, seen.pace)
    if rate is None and seen is not None:
        rate = seen.told or (seen.pace if seen.hi is not None else None)
    if rate is None:
        return None
    time_s = max(0.0, amount - burst) / rate
    return Forecast(time_s, f"about {spoken(time_s)}, quota-bound: {per_time(rate, name.value)}")


def _by_width(calls: int, quota: Quota, learned: Learned | None) -> Forecast | None:
    if learned is None or learned.call_s is None:
        return None
    told = [one.amount for one in quota.limits if one.dimension is Dimension.CONCURRENCY]
    cap = learned.width.cap
    if learned.width.untried:
        cap = max(cap, start_width(calls))
    width = min([cap, *(amount for amount in told if amount)])
    time_s = calls * learned.call_s / min(width, calls)
    places = f"{min(width, calls):.0f} in flight × {learned.call_s:.3g} s"
    if learned.width.known or learned.width.told or told:
        return Forecast(time_s, f"about {spoken(time_s)}: concurrency-bound, {places}")
    return Forecast(time_s, f"about {spoken(time_s)}: {places}, no limit met yet")


def per_time(per_s: float, name: str) -> str:
    """Return a rate per minute, or per hour where that is less than ten."""
    if per_s * 60 >= 10:
        return f"{per_s * 60:,.0f} {name}/min"
    return f"{per_s * 3600:,.4g} {name}/h"


def spoken(time_s: float) -> str:
    """Return a time as people say it: seconds, minutes, hours or days."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if time_s >= 1.5 * length_s:
            return f"{time_s / length_s:.0f} {unit}"
    return f"{max(1.0, time_s):.0f} s"
