"""Reads a provider's ``limits`` table: what its owner says that a lane may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from headrace.errors import ConfigError
from headrace.limits import DAY_S, RATES, Dimension, Limit, Quota, start_width
from headrace.nearest import did_you_mean

CONCURRENCY_START = 8
RATE_START = 2.0
"""Calls in flight, and calls a second, with which an unknown remote lane begins."""

_WINDOWS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": DAY_S}
_RATE_KEYS = {
    f"{dimension.value}_per_{window}": (dimension, window_s)
    for dimension in RATES
    for window, window_s in _WINDOWS_S.items()
}
KNOWN = (*_RATE_KEYS, "concurrency")
"""Every key of a ``limits`` table."""


PRESETS: dict[str, tuple[int, float | None]] = {
    "free": (3, 1.0),
    "paid": (CONCURRENCY_START, RATE_START),
    "self-hosted": (4, None),
    "queue": (40, 10.0),
}
"""Where a lane of such a kind starts: calls in flight, and calls a second (``None``: as many as
are in flight). Only a start: what it bears is found out."""


def read_quota(
    table: Mapping[str, Any],
    place: str,
    concurrency: int | None = None,
    preset: str | None = None,
    tokens_refunded: bool | None = None,
) -> Quota:
    """Return what ``table`` (the keys of ``KNOWN``) tells of every lane of a provider.

    Told limits are pinned: they are never exceeded. ``concurrency`` is where calls in
    flight start, a told cap by default, else that of the ``preset``; where nothing at all is
    told, the size of batches decides. Where no limit within a day is told the lane starts
    cautiously. ``place`` names the table; raises ``ConfigError``.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"not a table: {table!r}", place=place, remedy="{ requests_per_minute = 500 }"
        )
    limits = tuple(_limit(key, value, place) for key, value in table.items())
    caps = [limit.amount for limit in limits if limit.dimension is Dimension.CONCURRENCY]
    if preset is not None and preset not in PRESETS:
        raise ConfigError(
            f"unknown preset {preset!r}", place=place, remedy=did_you_mean(preset, PRESETS)
        )
    width, rate_start = PRESETS[preset or "paid"]
    advised = concurrency is None and preset is None and not limits
    if advised:
        width = start_width(1)
    start = concurrency or (int(caps[0]) if caps and caps[0] else width)
    if caps and caps[0]:
        start = min(start, int(caps[0]))
    told = any(limit.window_s is None or limit.window_s < DAY_S for limit in limits)
    return Quota(
        concurrency=start,
        limits=limits,
        pinned=bool(limits),
        rate_start=None if told else rate_start,
        tokens_refunded=tokens_refunded,
        advised=advised,
    )


def read_refunded(value: Any, place: str) -> bool | None:
    """Return a provider's ``tokens_refunded``, ``None`` where it is left to be found out.

    ``place`` names it; raises ``ConfigError``.
    """
    if value is None or isinstance(value, bool):
        return value
    raise ConfigError(
        f"{value!r} is neither true nor false",
        place=place,
        remedy="Leave it out when it is not known.",
    )


def _limit(key: str, value: Any, place: str) -> Limit:
    if key not in KNOWN:
        raise ConfigError(f"unknown limit {key!r}", place=place, remedy=did_you_mean(key, KNOWN))
    whole = key == "concurrency"
    good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or value <= 0:
        what = "a whole number of 1 or more" if whole else "a number above zero"
        raise ConfigError(
            f"{value!r} is not {what}",
            place=f"{place} {key}",
            remedy="Leave it out when it is not known: it is learned.",
        )
    if whole:
        return Limit(Dimension.CONCURRENCY, amount=float(value))
    dimension, window_s = _RATE_KEYS[key]
    return Limit(dimension, amount=float(value), window_s=window_s)
