"""How long a provider asks to wait: its headers, fields, dates and texts, the most exact first."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from typing import Any

from headrace.limits import DAY_S, WAIT_S_MAX

EPOCH_MIN = 1e9
"""A number of seconds above this is a moment (seconds since 1970), not a wait."""
EPOCH_MS_MIN = 1e11
"""And above this, a moment in milliseconds."""

Texts = Sequence[tuple[str, str]]
"""What an answer says in words, each with its place ("body.error.message")."""

HEADER_WAITS = (
    ("retry-after-ms", 0.001),
    ("retry-after", 1.0),
    ("llm_provider-retry-after-ms", 0.001),
    ("llm_provider-retry-after", 1.0),
    ("x-ms-retry-after-ms", 0.001),
)
FIELD_WAITS = (
    ("body.retry_after", ("retry_after",), 1.0),
    ("body.retryAfter", ("retryAfter",), 1.0),
    ("body.retry_after_ms", ("retry_after_ms",), 0.001),
    ("body.error.retry_after", ("error", "retry_after"), 1.0),
    ("body.detail.retry_after", ("detail", "retry_after"), 1.0),
)
FIELD_MOMENTS = (
    ("data.resetAt", ("data", "resetAt")),
    ("data.reset_at", ("data", "reset_at")),
    ("body.resetAt", ("resetAt",)),
)

_NUMBER = re.compile(r"\+?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:e[+-]?\d{1,3})?", re.I | re.A)
_GO_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ns|us|µs|μs|ms|s|m|h|d)", re.A)
_GO = re.compile(rf"(?:{_GO_PART.pattern})+", re.A)
_UNIT = r"(?:ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
_PART = rf"\d{{1,9}}(?:\.\d{{1,12}})?\s?{_UNIT}(?![a-z])"
_LEAD = (
    r"(?:(?:try again|retry(?:ing)?|retry[-_]after|resets?|wait|available|timed out for)"
    r"(?:[ :]+(?:again|later|in|after|for|at least|about|another)){0,3}[ :=]*[~≈]?\s?"
    r'|retryDelay\\?"\s?:\s?\\?")'
)
TEXT_WAIT = re.compile(rf"{_LEAD}({_PART}(?: ?,? ?(?:and )?{_PART}){{0,4}})", re.I | re.A)
_TEXT_PART = re.compile(rf"(\d{{1,9}}(?:\.\d{{1,12}})?)\s?({_UNIT})(?![a-z])", re.I | re.A)
_TEXT_DATE = re.compile(
    r"(?:try again|resets?|available)(?: again)? (?:at|on|after) "
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?)",
    re.I | re.A,
)
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "d": DAY_S, "h": 3600.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait in seconds, above zero and at most ``WAIT_S_MAX``, and where it was found."""

    wait_s: float
    found: str


def clamped(wait_s: float | None) -> float | None:
    """Return a wait that can be trusted: ``None`` for zero, negative and endless ones."""
    if wait_s is None or not math.isfinite(wait_s) or wait_s <= 0.0:
        return None
    return min(wait_s, WAIT_S_MAX)


def read_number(value: object) -> float | None:
    """Return a plain number, not negative; ``None`` for anything else."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > 64 or _NUMBER.fullmatch(text) is None:
            return None
        number = float(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    return number if math.isfinite(number) and number >= 0.0 else None


def read_duration_s(text: str) -> float | None:
    """Return the seconds of a duration as Go writes it: ``6m0s``, ``58.891s``, ``120ms``."""
    text = text.strip()
    if len(text) > 64 or _GO.fullmatch(text) is None:
        return None
    return _summed(_GO_PART.finditer(text))


def _summed(parts: Iterable[re.Match[str]]) -> float:
    return sum((float(part[1]) * _unit_s(part[2].lower()) for part in parts), 0.0)


def _unit_s(unit: str) -> float:
    if unit.startswith(("ms", "milli")):
        return 0.001
    return _UNITS_S.get(unit) or _UNITS_S.get(unit[0], 1.0)


def read_moment(text: str) -> datetime | None:
    """Return an RFC 3339 or HTTP date as an aware moment; UTC where no zone is named."""
    text = text.strip()
    if not 8 <= len(text) <= 64:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _read_http_date(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _read_http_date(text: str) -> datetime | None:
    try:
        parts = parsedate_tz(text)
        if parts is None:
            return None
        zone = timezone(timedelta(seconds=parts[9] or 0))
        return datetime(*parts[:6], tzinfo=zone)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def moment_of(headers: Mapping[str, str], now: datetime | None) -> datetime | None:
    """Return the moment that dates count from: the server's own, else ``now``."""
    date = headers.get("date")
    told = read_moment(date) if date else None
    if told is None and now is not None:
        return now if now.tzinfo is not None else now.replace(tzinfo=UTC)
    return told


def read_reset(value: object, at: datetime | None) -> tuple[float, str] | None:
    """Return the seconds until a reset, and how it was written: "", " as epoch", " as date".

    Takes seconds, Go durations, seconds or milliseconds since 1970, RFC 3339 and HTTP
    dates; moments count from ``at`` and say nothing without it. May be negative.
    """
    number = read_number(value)
    if number is not None:
        if number <= EPOCH_MIN:
            return number, ""
        moment_s = number / 1000.0 if number >= EPOCH_MS_MIN else number
        return None if at is None else (moment_s - at.timestamp(), " as epoch")
    if not isinstance(value, str):
        return None
    duration_s = read_duration_s(value)
    if duration_s is not None:
        return duration_s, ""
    moment = read_moment(value)
    if moment is None or at is None:
        return None
    return (moment - at).total_seconds(), " as date"


def find_wait(
    headers: Mapping[str, str], body: Mapping[str, Any], texts: Texts, at: datetime | None
) -> Wait | None:
    """Return the wait that an answer asks for, from the first place that names a usable one.

    ``headers`` have names in lower case, ``at`` is what ``moment_of`` says. Headers that
    say when a bucket is full again are not read here: that is longer than the wait.
    """
    for wait_s, found in _waits(headers, body, texts, at):
        usable_s = clamped(wait_s)
        if usable_s is not None:
            return Wait(usable_s, found)
    return None


def _waits(
    headers: Mapping[str, str], body: Mapping[str, Any], texts: Texts, at: datetime | None
) -> Iterator[tuple[float, str]]:
    for name, unit_s in HEADER_WAITS:
        if name in headers:
            yield from _scaled(headers[name], unit_s, name, at)
    for place, path, unit_s in FIELD_WAITS:
        yield from _scaled(dig(body, *path), unit_s, place, at)
    yield from _retry_infos(body)
    for place, path in FIELD_MOMENTS:
        read = read_reset(dig(body, *path), at)
        if read is not None:
            yield read[0], place
    for place, text in texts:
        yield from _in_text(text, f"{place} text", at)


def _scaled(
    value: object, unit_s: float, found: str, at: datetime | None
) -> Iterator[tuple[float, str]]:
    if unit_s != 1.0:
        number = read_number(value)
        if number is not None:
            yield round(number * unit_s, 9), found
            return
    read = read_reset(value, at)
    if read is not None:
        yield read[0], found + read[1]


def _retry_infos(body: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """Google's RetryInfo: "37s", "37.36s", or seconds and nanos apart."""
    details = dig(body, "error", "details")
    for detail in details[:20] if isinstance(details, list) else ():
        if not str(dig(detail, "@type"))[:200].endswith("RetryInfo"):
            continue
        delay = dig(detail, "retryDelay")
        seconds = read_number(dig(delay, "seconds"))
        if isinstance(delay, str):
            seconds = read_duration_s(delay)
        elif seconds is not None:
            seconds += (read_number(dig(delay, "nanos")) or 0.0) * 1e-9
        if seconds is not None:
            yield seconds, "error.details[RetryInfo].retryDelay"


def _in_text(text: str, found: str, at: datetime | None) -> Iterator[tuple[float, str]]:
    for match in TEXT_WAIT.finditer(text):
        yield _summed(_TEXT_PART.finditer(match[1])), found
    date = _TEXT_DATE.search(text)
    read = read_reset(date[1], at) if date is not None else None
    if read is not None:
        yield read[0], found


def dig(value: object, *path: str) -> Any:
    """Return what lies under ``path`` in nested objects, ``None`` where there is no such thing."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
