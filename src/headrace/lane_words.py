"""Lanes for programs and for people: what was learned of their limits, and how they do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace.forecast import per_time, spoken
from headrace.learned import LearnedQuota, LearnedRate, LearnedWidth, Remembered
from headrace.limits import DAY_S, LONG_S
from headrace.pacing import used_up
from headrace.store.lanes import Kept

FRESH_S = 10.0
"""A summary older than this is of a process that has ended."""
ORIGINS = {"told": "told", "pinned": "pinned", "announced": "announced by the provider"}


def lane_json(kept: Kept, now: datetime) -> dict[str, Any]:
    """Return a lane as a JSON object; ``live`` is null when no process works on it."""
    told = kept.remembered
    return {
        "name": kept.name,
        "learned": None if told is None else msgspec.to_builtins(told.learned),
        "learned_at": None if told is None else told.at.isoformat(),
        "limits": [] if told is None else limit_words(told, now),
        "live": kept.live if is_fresh(kept, now) else None,
        "live_at": None if kept.live_at is None else kept.live_at.isoformat(),
    }


def is_fresh(kept: Kept, now: datetime) -> bool:
    """Tell whether a process works on a lane now."""
    return kept.live_at is not None and abs((now - kept.live_at).total_seconds()) < FRESH_S


def limit_words(told: Remembered, now: datetime) -> list[str]:
    """Return the limits of a lane in words, such as ``about 598 requests/min, learned``."""
    words, age_s = [], told.age_s(now)
    for name, rate in sorted(told.learned.rates.items()):
        if rate.pace is not None or not rate.longer:
            words.append(_rate_words(name, rate, age_s))
        words += [_quota_words(name, quota, age_s, now) for quota in rate.longer]
    return [*words, _width_words(told.learned.width, age_s)]


def shut_words(told: Remembered, now: datetime) -> str | None:
    """Return until when a lane is shut and why, for whoever asks next; ``None``: it is open."""
    found = [(told.learned.shut_s, told.learned.shut_why)]
    found += [
        (quota.left_s, used_up(quota.amount, name, quota.window_s))
        for name, rate in told.learned.rates.items()
        for quota in rate.longer
        if quota.is_used_up
    ]
    left_s, why = max(found)
    left_s -= told.age_s(now)
    return f"{moment_in(left_s, now)}: {why}" if left_s > 0 and told.holds(now) else None


def moment_in(left_s: float, at: datetime) -> str:
    """Return the moment ``left_s`` after ``at``, as people are told it."""
    return f"{at + timedelta(seconds=left_s):%Y-%m-%d %H:%M:%S} UTC"


def _quota_words(name: str, quota: LearnedQuota, age_s: float, now: datetime) -> str:
    span = {LONG_S: "h", DAY_S: "day"}.get(quota.window_s) or spoken(quota.window_s)
    words = f"{quota.amount:,.0f} {name}/{span}, {ORIGINS.get(quota.origin, quota.origin)}"
    if quota.left_s <= age_s:
        return f"{words}: none used"
    return f"{words}: {quota.used:,.0f} used, anew from {moment_in(quota.left_s - age_s, now)}"


def _rate_words(name: str, rate: LearnedRate, age_s: float) -> str:
    if rate.told is not None:
        words = f"{per_time(rate.told, name)}, {ORIGINS.get(rate.origin, rate.origin)}"
        if rate.held and rate.pace is not None and rate.pace < 0.9 * rate.told:
            words += f" (held at {per_time(rate.pace, name)})"
        return words
    if rate.pace is None:
        return f"no limit of {name} met yet"
    if rate.strays is not None:
        words = f"about {per_time(rate.pace, name)}, learned {_ago(age_s)}"
        return f"{words}; of 100 calls {100 * rate.strays:.0f} are refused at any pace"
    if rate.held:
        return f"about {per_time(rate.pace, name)}, learned {_ago(age_s)}"
    if rate.hi is None:
        return f"{per_time(rate.pace, name)} and growing, no limit met yet"
    return f"between {60 * rate.lo:,.0f} and {per_time(rate.hi, name)}, still being learned"


def _width_words(width: LearnedWidth, age_s: float) -> str:
    if width.told:
        return f"{width.cap:.0f} in flight, told"
    if width.known:
        return f"{width.cap:.0f} in flight, learned {_ago(age_s)}"
    return "no limit of calls in flight met yet"


def _ago(age_s: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= length_s:
            return f"{age_s / length_s:.0f} {unit} ago"
    return "just now" if age_s < 10 else f"{age_s:.0f} s ago"
