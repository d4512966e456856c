"""What the words of an answer state of a lane's limits, and Google's details of a quota."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from headrace.announced import AMOUNT_MAX, MINUTE_S, WINDOWS_S
from headrace.limits import DAY_S, Dimension, Limit
from headrace.waits import Texts, dig, read_number

_PER = r"(?:per|/|in|within|every) ?(?:an? )?"
_WINDOW = r"(sec(?:ond)?|min(?:ute)?|hour|day|month)"
_WHAT = r"(requests?|calls?|predictions?|tokens?|(?:input[- ])?images?)"
_COUNT = r"(\d{1,12}(?:,\d{3}){0,4}(?:\.\d{1,6})?)"
_STATED = re.compile(
    rf"\b{_WHAT} per {_WINDOW}s?\b(?: \([a-z]{{2,5}}\))?: limit:? {_COUNT}\b"
    rf"(?: ?/ ?[a-z]{{1,6}})?(?:, used:? {_COUNT}\b)?",
    re.I | re.A,
)
_RATE = re.compile(
    r"\b(?:limit(?:ed)?|reduced|maximum|max|allows?|allowed|up to)\b[^.\d]{0,60}?"
    rf"{_COUNT} (input |output )?{_WHAT} ?{_PER}(\d{{1,6}})?[ -]?{_WINDOW}",
    re.I | re.A,
)
_AT_ONCE = re.compile(
    r"\b(?:limit(?:ed)?|maximum|max|allows?|allowed|up to|only)\b[^.\d]{0,40}?(\d{1,6}) "
    r"(?:concurrent|active|simultaneous|parallel)"
    r"|\bconcurrency limit\b[^.\d]{0,20}?(\d{1,6})\b(?!\.\d)",
    re.I | re.A,
)
_CONCURRENT = re.compile(
    r"\bconcurren(?:t|cy|tly)\b|\bactive tasks\b|\bsimultaneous|\bpending requests\b"
    r"|\bparallel (?:requests|calls|tasks)\b|\bparallel request limit reached\b",
    re.I,
)
_PER_WHAT = re.compile(
    rf"\b(?:on|of|for) {_WHAT} per {_WINDOW}|\bexceeded (token|call) rate limit\b", re.I
)
_ASKED = re.compile(
    rf"\blimit:? {_COUNT}(?: ?/ ?[a-z]{{1,6}})?(?:, used:? {_COUNT})?, requested:? {_COUNT}\b",
    re.I | re.A,
)
_QUOTA_LIMIT = re.compile(r"\bmetric: ([\w./-]{1,200}), limit: (\d{1,15})\b", re.A)
_QUOTA_WINDOWS = (("PerDay", DAY_S), ("PerMinute", MINUTE_S), ("PerMonth", 30 * DAY_S))


def limits_in_texts(texts: Texts) -> tuple[Limit, ...]:
    """Return the limits that the words of an answer state."""
    limits: dict[tuple[Dimension, float | None], Limit] = {}
    for _, text in texts:
        for limit in _stated(text):
            limits.setdefault((limit.dimension, limit.window_s), limit)
    return tuple(limits.values())


def _stated(text: str) -> Iterator[Limit]:
    for what, window, amount, used in _STATED.findall(text):
        cap = _whole(amount)
        left = max(0.0, cap - _whole(used)) if used else None
        yield Limit(_dimension(what), cap, _window_s(window), left)
    for amount, part, what, count, window in _RATE.findall(text):
        # What is allowed of output alone says little about the tokens of a whole call.
        if part.lower() != "output ":
            yield Limit(_dimension(what), _whole(amount), float(count or 1) * _window_s(window))
    for first, second in _AT_ONCE.findall(text):
        yield Limit(Dimension.CONCURRENCY, _whole(first or second))


def _whole(digits: str) -> float:
    return float(digits.replace(",", ""))


def _window_s(word: str) -> float:
    return WINDOWS_S.get(word.lower(), 1.0)


def _dimension(word: str) -> Dimension:
    low = word.lower()
    if "image" in low:
        return Dimension.IMAGES
    return Dimension.TOKENS if "token" in low else Dimension.REQUESTS


def bucket_in_texts(texts: Texts) -> Dimension | None:
    """Return which limit refused, as far as the words of an answer tell."""
    for _, text in texts:
        stated = _STATED.search(text) or _PER_WHAT.search(text)
        if stated is not None:
            return _dimension(stated[1] or stated[stated.re.groups])
        if _CONCURRENT.search(text) is not None:
            return Dimension.CONCURRENCY
        rate = _RATE.search(text)
        if rate is not None:
            return _dimension(rate[3])
    return None


def asks_too_much(texts: Texts) -> bool | None:
    """Tell whether one call asked for more than its whole limit; ``None`` where both are not said.

    What was used by others does not count: that renews.
    """
    for _, text in texts:
        said = _ASKED.search(text)
        if said is not None:
            return _whole(said[3]) > _whole(said[1])
    return None


def quota_violations(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the violations of Google's QuotaFailure, each with quotaMetric and quotaId."""
    details = dig(body, "error", "details")
    found = []
    for detail in details[:20] if isinstance(details, list) else ():
        violations = dig(detail, "violations")
        for violation in violations[:20] if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                found.append(violation)
    return found


def bucket_in_quotas(body: Mapping[str, Any]) -> Dimension | None:
    """Return what Google's first violation counts."""
    for violation in quota_violations(body):
        return _dimension(_quota_name(violation))
    return None


def _quota_name(violation: Mapping[str, Any]) -> str:
    parts = (violation.get("quotaId"), violation.get("quotaMetric"))
    return " ".join(part[:200] for part in parts if isinstance(part, str))


def limits_in_quotas(body: Mapping[str, Any], texts: Texts) -> tuple[Limit, ...]:
    """Return the limits of Google's violations; the amount from quotaValue, else the message."""
    stated = {
        metric: _whole(amount) for _, text in texts for metric, amount in _QUOTA_LIMIT.findall(text)
    }
    limits = []
    for violation in quota_violations(body):
        name = _quota_name(violation)
        window_s = next((w for word, w in _QUOTA_WINDOWS if word in name), None)
        metric = name.rpartition(" ")[2]
        amount = read_number(violation.get("quotaValue")) or stated.get(metric)
        if amount and amount < AMOUNT_MAX:
            limits.append(Limit(_dimension(name), amount, window_s))
    return tuple(limits)
