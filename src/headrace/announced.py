"""What the headers of answers announce of a lane's limits: amounts, what is left, resets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from headrace.limits import DAY_S, Dimension, Limit
from headrace.waits import Wait, clamped, moment_of, read_number, read_reset

MINUTE_S = 60.0
AMOUNT_MAX = 1e12
"""Larger amounts are a server's way to say "none"."""
VALUE_CHARS_MAX = 512
BUCKETS_MAX = 32

_PREFIX = re.compile(r"(?:llm_provider-)?(?:x-|anthropic-)?rate-?limit(?:-|$)")
_SLOTS = frozenset(("limit", "remaining", "reset"))
_DIMENSIONS = {
    "requests": Dimension.REQUESTS,
    "request": Dimension.REQUESTS,
    "tokens": Dimension.TOKENS,
    "token": Dimension.TOKENS,
    "images": Dimension.IMAGES,
    "image": Dimension.IMAGES,
    "concurrent": Dimension.CONCURRENCY,
    "concurrency": Dimension.CONCURRENCY,
}
WINDOWS_S = {
    "second": 1.0,
    "minute": MINUTE_S,
    "min": MINUTE_S,
    "hour": 3600.0,
    "day": DAY_S,
    "daily": DAY_S,
    "month": 30 * DAY_S,
    "monthly": 30 * DAY_S,
}
"""Words for windows, in the names of headers and in texts."""
_PARTS = frozenset(("input-tokens", "output-tokens"))
"""Parts of the whole that ``tokens`` counts; they add up to it where it is not announced."""

_ITEM = re.compile(r'"?([^",;=]{1,64})"?((?:\s?;\s?[\w-]{1,32}\s?=\s?[^;,]{1,64})+)')
_PARAM = re.compile(r';\s?([\w-]{1,32})\s?=\s?"?([^;,"]{1,64})')
_PAIR = re.compile(r"\b(limit|remaining|reset)\s?=\s?(\d{1,15})")


class _Place(NamedTuple):
    """What the name of a header stands for."""

    key: str
    slot: str
    dimension: Dimension
    window_s: float | None
    copied: bool


class Bucket:
    """One announced bucket: numbers as sent, ``reset`` still as text, with its header's name."""

    __slots__ = ("amount", "dimension", "key", "remaining", "reset", "reset_name", "window_s")

    def __init__(self, key: str, dimension: Dimension, window_s: float | None) -> None:
        self.key = key
        self.dimension = dimension
        self.window_s = window_s
        self.amount: float | None = None
        self.remaining: float | None = None
        self.reset: str | None = None
        self.reset_name = ""

    @property
    def empty(self) -> bool:
        """Tell whether nothing is left in it."""
        return self.remaining is not None and self.remaining <= 0.0


def read_announced(headers: Mapping[str, str]) -> tuple[Limit, ...]:
    """Return the limits that the headers of any answer announce; never raises.

    Cheap enough for every reply. Moments count from the server's own ``Date``; without
    it such a reset stays unknown.
    """
    buckets, date = _read_headers(headers)
    return limits_of(buckets, moment_of({"date": date}, None) if date else None) if buckets else ()


def read_buckets(headers: Mapping[str, str]) -> list[Bucket]:
    """Return the buckets that the headers announce, in the order of their names' appearance."""
    return _read_headers(headers)[0]


def _read_headers(headers: Mapping[str, str]) -> tuple[list[Bucket], str]:
    buckets: dict[str, Bucket] = {}
    date = ""
    for name, value in headers.items():
        low = str(name).lower()
        if low == "date":
            date = str(value)
        if "limit" not in low:
            continue
        place = _place(low)
        if place is not None and len(buckets) < BUCKETS_MAX:
            text = str(value)[:VALUE_CHARS_MAX]
            if place.slot in _SLOTS:
                _fill(buckets, place, text, low)
            else:
                _read_structured(buckets, place.slot, text)
    return list(buckets.values()), date


@lru_cache(maxsize=512)
def _place(name: str) -> _Place | None:
    found = _PREFIX.match(name)
    if found is None or len(name) > 80 or not name.isascii():
        return None
    copied = name.startswith("llm_provider-")
    words = name[found.end() :].split("-")
    if words in ([""], ["policy"]):
        return _Place("", words[0] or "ratelimit", Dimension.REQUESTS, None, copied)
    slots = [word for word in words if word in _SLOTS]
    rest = [word for word in words if word not in _SLOTS and word != "after"]
    named = [_DIMENSIONS[word] for word in rest if word in _DIMENSIONS]
    windows = [WINDOWS_S[word] for word in rest if word in WINDOWS_S]
    if len(slots) != 1 or (rest and not named and len(windows) != len(rest)):
        return None
    dimension = named[0] if named else Dimension.REQUESTS
    window_s = windows[0] if windows else MINUTE_S if named else None
    if dimension is Dimension.CONCURRENCY:
        window_s = None
    return _Place("-".join(rest), slots[0], dimension, window_s, copied)


def _fill(buckets: dict[str, Bucket], place: _Place, text: str, name: str) -> None:
    bucket = buckets.get(place.key)
    if bucket is None:
        bucket = buckets[place.key] = Bucket(place.key, place.dimension, place.window_s)
    # A proxy that passes its upstream's headers on under new names also sends its own: those win.
    if place.slot == "limit":
        if bucket.amount is None or not place.copied:
            bucket.amount = _amount(text)
            window = re.search(r";\s?w=(\d{1,9})", text) if ";" in text else None
            bucket.window_s = float(window[1]) if window else bucket.window_s
    elif place.slot == "remaining":
        if bucket.remaining is None or not place.copied:
            bucket.remaining = _left(text)
    elif bucket.reset is None or not place.copied:
        bucket.reset, bucket.reset_name = text, name


def _read_structured(buckets: dict[str, Bucket], slot: str, text: str) -> None:
    """``ratelimit: "default";r=0;t=30`` and its ``-policy`` with q and w, or the older pairs."""
    for name, value in _PAIR.findall(text):
        place = _Place("", name, Dimension.REQUESTS, None, False)
        _fill(buckets, place, value, f"ratelimit {name}=")
    for item, params in _ITEM.findall(text):
        told = dict(_PARAM.findall(params))
        unit = str(told.get("qu", "requests"))
        dimension = next((d for word, d in _DIMENSIONS.items() if unit.startswith(word)), None)
        if dimension is None:
            continue
        # The first drafts had the quota itself where the name is now: "100;w=60".
        quota = read_number(item) if slot == "policy" and "q" not in told else None
        key = "" if quota is not None else f"policy {item}"
        bucket = buckets.setdefault(key, Bucket(key, dimension, None))
        bucket.amount = _amount(told["q"]) if "q" in told else quota or bucket.amount
        bucket.window_s = read_number(told.get("w")) or bucket.window_s
        bucket.remaining = _left(told["r"]) if "r" in told else bucket.remaining
        if "t" in told:
            bucket.reset, bucket.reset_name = told["t"], "ratelimit t="


def _amount(text: str) -> float | None:
    number = read_number(text)
    if number is None:
        number = read_number(re.split(r"[,;]", text, maxsplit=1)[0])
    return number if number is not None and 0.0 < number < AMOUNT_MAX else None


def _left(text: str) -> float | None:
    if text.lstrip().startswith("-"):
        return 0.0 if read_number(text.lstrip()[1:]) is not None else None
    number = read_number(text)
    return number if number is not None and number < AMOUNT_MAX else None


def limits_of(buckets: list[Bucket], at: datetime | None) -> tuple[Limit, ...]:
    """Return announced buckets as limits, one for each dimension and window.

    Two of the same kind (organisation and project) hold both, so the lesser counts;
    input and output tokens add up to the tokens that a load counts.
    """
    whole = any(bucket.key == "tokens" for bucket in buckets)
    limits: dict[tuple[Dimension, float | None], Limit] = {}
    parts: set[str] = set()
    for bucket in buckets:
        limit = _limit(bucket, at)
        key = (limit.dimension, limit.window_s)
        before = limits.get(key)
        is_part = bucket.key in _PARTS
        if is_part and whole:
            if not bucket.empty:
                continue
            limit = Limit(limit.dimension, None, limit.window_s, 0.0, limit.reset_s)
        if before is None:
            limits[key] = limit
        elif is_part and parts:
            limits[key] = _joined(before, limit, _total)
        else:
            limits[key] = _joined(before, limit, min)
        parts |= {bucket.key} if is_part and not whole else set()
    return tuple(limit for limit in limits.values() if _tells(limit))


def _limit(bucket: Bucket, at: datetime | None) -> Limit:
    reset = read_reset(bucket.reset, at) if bucket.reset is not None else None
    reset_s = clamped(reset[0]) or 0.0 if reset is not None else None
    return Limit(bucket.dimension, bucket.amount, bucket.window_s, bucket.remaining, reset_s)


def _tells(limit: Limit) -> bool:
    return not (limit.amount is limit.remaining is limit.reset_s is None)


def _total(first: float, second: float) -> float:
    return first + second


def _joined(first: Limit, second: Limit, how: Callable[[float, float], float]) -> Limit:
    """One limit for two: an empty one leaves nothing, until the later of them is full again."""
    empty = [limit for limit in (first, second) if limit.remaining == 0.0]
    resets = [limit.reset_s for limit in empty or (first, second) if limit.reset_s is not None]
    return Limit(
        first.dimension,
        _both(first.amount, second.amount, how),
        first.window_s,
        0.0 if empty else _both(first.remaining, second.remaining, how),
        max(resets, default=None),
    )


def _both(
    first: float | None, second: float | None, how: Callable[[float, float], float]
) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return how(first, second)


def reset_wait(buckets: list[Bucket], at: datetime | None) -> Wait | None:
    """Return the wait for the buckets that are empty: until the last of them has some again.

    A lone bucket that does not say what is left is taken for the empty one.
    """
    empty = [bucket for bucket in buckets if bucket.empty]
    if not empty and len(buckets) == 1 and buckets[0].remaining is None:
        empty = buckets
    waits = []
    for bucket in empty:
        reset = read_reset(bucket.reset, at)
        usable_s = clamped(reset[0]) if reset is not None else None
        if reset is not None and usable_s is not None:
            waits.append(Wait(usable_s, bucket.reset_name + reset[1]))
    return max(waits, key=lambda wait: wait.wait_s, default=None)
