"""What Google's generateContent answers, read as values: text, images, refusals, usage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from headrace.outcome import Outcome, OutcomeKind
from headrace.providers.remote.chat_params import count_of, facts_of, plain_usage
from headrace.providers.remote.words import decode_words
from headrace.stated import quota_violations
from headrace.verdicts import GEMINI_AGAIN, GEMINI_REFUSALS, GEMINI_UNSPECIFIED
from headrace.waits import dig

PARTS_MAX = 1000
WORDS_CHARS_MAX = 300
_STANDARD = ("STANDARD", "UNSPECIFIED", "ON_DEMAND", "TRAFFIC_TYPE_UNSPECIFIED")
_DETAILS = ("prompt", "candidates", "cache", "toolUsePrompt")
_NUMBER = re.compile(r"[0-9]{1,6}")
_NOTHING = re.compile(r"\blimit: 0\b(?!\.)")
_CUT_OFF = "MAX_TOKENS"
_PACIFIC = "America/Los_Angeles"


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: the words and images of its first candidate that are no thoughts.

    ``images`` are numbers of data texts, as ``InlineSieve`` counts them. ``finish`` and
    ``blocked`` are Google's reasons, empty where it gave none; ``calls`` are the parts in
    which the model wants a tool to be called. ``fault``: an error stands where an answer
    should be. ``raw_usage`` is the usage as it came.
    """

    text: str = ""
    images: tuple[int, ...] = ()
    finish: str = ""
    message: str = ""
    blocked: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    fault: bool = False
    usage: dict[str, int] = field(default_factory=dict)
    raw_usage: Any = None
    prompt_tokens: int | None = None
    model: str | None = None
    id: str | None = None

    @property
    def at_list_price(self) -> bool:
        """Tell whether nothing in the usage says that the call had another price."""
        tiers = (dig(self.raw_usage, "serviceTier"), dig(self.raw_usage, "trafficType"))
        return all(one is None or str(one).upper() in _STANDARD for one in tiers)

    def facts(self) -> dict[str, Any]:
        """Return what is kept with the attempt."""
        return facts_of(self.usage, self.model, is_cut=self.finish == _CUT_OFF)


_decode = msgspec.json.Decoder().decode


def read_told(rest: bytes) -> Told | None:
    """Return what an answer says, its data texts as numbers; ``None`` for no JSON object."""
    try:
        body = decode_words(rest, _decode)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    candidates = _objects(body.get("candidates"))
    candidate = candidates[0] if candidates else {}
    parts = [part for part in _parts(candidate) if part.get("thought") is not True]
    usage = body.get("usageMetadata")
    return Told(
        text="".join(text for part in parts if (text := _text(part.get("text")))),
        images=tuple(n for part in parts if (n := _number(part)) is not None),
        finish=_text(candidate.get("finishReason")),
        message=_text(candidate.get("finishMessage")),
        blocked=_text(dig(body, "promptFeedback", "blockReason")),
        calls=tuple(part for part in parts if isinstance(dig(part, "functionCall", "name"), str)),
        fault=bool(body.get("error")),
        usage=_counts(usage),
        raw_usage=usage,
        prompt_tokens=count_of(usage, "promptTokenCount"),
        model=_text(body.get("modelVersion"))[:200] or None,
        id=_text(body.get("responseId"))[:200] or None,
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    items = value[:PARTS_MAX] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _parts(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _objects(dig(candidate, "content", "parts"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(part: Mapping[str, Any]) -> int | None:
    """The number that the sieve left in place of a part's data."""
    told = dig(part, "inlineData", "data") or dig(part, "inline_data", "data")
    return int(told) if isinstance(told, str) and _NUMBER.fullmatch(told) else None


def _counts(usage: Any) -> dict[str, int]:
    """Counts of a ``usageMetadata``, those by modality as ``candidatesImageTokenCount``."""
    counts = plain_usage(usage)
    for kind in _DETAILS:
        for detail in _objects(dig(usage, f"{kind}TokensDetails")):
            modality, count = detail.get("modality"), count_of(detail, "tokenCount")
            if isinstance(modality, str) and modality.isalpha() and count is not None:
                counts[f"{kind}{modality[:20].capitalize()}TokenCount"] = count
    return counts


def unfit(told: Told, paints: bool, offers: bool = False) -> Outcome | None:
    """Return why an answer is no result, ``None`` when it is one.

    ``offers``: functions were offered, and calls of them are the answer.
    """
    withheld = _withheld(told)
    if withheld is not None:
        return withheld
    if offers and told.calls and told.finish not in GEMINI_AGAIN:
        return _cut_off("its end") if told.finish == _CUT_OFF else None
    if told.images if paints else told.text and told.finish not in GEMINI_AGAIN:
        return None
    if told.finish == _CUT_OFF:
        return _cut_off("its image" if paints else "its first word")
    if told.calls and not offers:
        return Outcome(
            OutcomeKind.INVALID,
            "the model asks for a tool to be called, and nobody is here to call it",
            remedy="Take the functions out of tools.",
        )
    return _nothing(told, paints)


def _withheld(told: Told) -> Outcome | None:
    if told.blocked and told.blocked not in GEMINI_UNSPECIFIED:
        return _refused(f"the prompt was blocked: {told.blocked[:100]}")
    if told.finish in GEMINI_REFUSALS:
        return _refused(f"the answer was withheld: {_why(told)}")
    return None


def _nothing(told: Told, paints: bool) -> Outcome:
    if paints and told.text:
        return Outcome(
            OutcomeKind.NO_OUTPUT,
            f"the model answered in words: {' '.join(told.text[:WORDS_CHARS_MAX].split())}",
            remedy="It is tried again. If it happens often, say in the prompt that it is to draw.",
        )
    what = "image" if paints else "text"
    why = f": {_why(told)}" if told.finish or told.message else ""
    return Outcome(
        OutcomeKind.NO_OUTPUT, f"the answer holds no {what}{why}", remedy="It is tried again."
    )


def _cut_off(before: str) -> Outcome:
    remedy = "Raise max_output_tokens: thinking counts, too."
    return Outcome(OutcomeKind.INVALID, f"the answer was cut off before {before}", remedy=remedy)


def _why(told: Told) -> str:
    said = (told.finish[:100], told.message[:WORDS_CHARS_MAX])
    return ", ".join(one for one in said if one)


def _refused(reason: str) -> Outcome:
    remedy = "Change the prompt or the pictures, then try again."
    return Outcome(OutcomeKind.REFUSED, reason, remedy=remedy)


def day_wait_s(body: Mapping[str, Any], now: datetime) -> float | None:
    """Return the seconds until a day's quota that is used up begins anew, ``None`` for others.

    Google's days end at midnight in California. ``now`` is aware; a quota of zero never
    begins anew.
    """
    ids = [str(one.get("quotaId"))[:200] for one in quota_violations(body)]
    message = str(dig(body, "error", "message"))[:10_000]
    if not any("PerDay" in one for one in ids) or _NOTHING.search(message):
        return None
    local = now.astimezone(_pacific())
    midnight = datetime.combine(local.date() + timedelta(days=1), time.min, local.tzinfo)
    return max(1.0, (midnight.astimezone(UTC) - now).total_seconds())


def _pacific() -> tzinfo:
    try:
        return ZoneInfo(_PACIFIC)
    except ZoneInfoNotFoundError:
        # A machine without time zones: an hour late in summer is better than an hour early.
        return timezone(timedelta(hours=-8))
