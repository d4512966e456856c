"""READ FIRST of what answers say: one answer of a provider becomes facts; nothing is done here.

``answer`` brings it into shape, ``verdicts`` and the tables in ``refusals`` say what it
means, ``waits`` how long to wait, ``announced`` (headers) and ``stated`` (words) what it
tells of the lane's limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.announced import Bucket, limits_of, read_announced, read_buckets, reset_wait
from headrace.answer import EACH, Answer, collapsed, gather, read_answer
from headrace.limits import Dimension, Limit, Said
from headrace.outcome import OutcomeKind
from headrace.refusals import Verdict, profile_of
from headrace.stated import (
    bucket_in_quotas,
    bucket_in_texts,
    limits_in_quotas,
    limits_in_texts,
)
from headrace.verdicts import judge
from headrace.waits import Wait, dig, find_wait, moment_of, read_number

__all__ = ["Signal", "read_announced", "read_signal"]

REASON_CHARS_MAX = 300
TOKENS_MAX = 1e12

KINDS = {
    "not_found": OutcomeKind.INVALID,
    "unknown_outcome": OutcomeKind.UNKNOWN,
}
"""Class words that have another name among the outcomes; all others have their own."""

AGAIN = frozenset(
    ("rate_limited", "overloaded", "transient", "timeout", "no_output", "unknown_outcome")
)
"""Classes in which the same call may do better another time."""
WAITING = AGAIN - {"no_output"} | {"quota_exhausted"}
FULL_BUCKETS = frozenset(("rate_limited", "quota_exhausted"))

REMEDIES = {
    "refused": "The provider declined this content. Change the text or the images, then try again.",
    "invalid": "The request does not fit the model. Correct the parameter that the message names.",
    "auth": "Check the provider's key in the settings, and what that key is allowed to do.",
    "not_found": "Check the name, version or id that was asked for, and the provider's base_url.",
    "quota_exhausted": "The quota or the credit is used up. Add credit, or wait until it renews.",
    "rate_limited": "Nothing to do: the item waits its turn, and the lane goes slower.",
    "overloaded": "Nothing to do: the provider has too much to do, the item is tried again.",
    "transient": "Nothing to do: the item is tried again.",
    "timeout": "The item is tried again. If it happens often, allow more time or ask for less.",
    "unknown_outcome": "The call may have been made and charged. The batch's policy decides.",
    "no_output": "The item is tried again. If it happens often, say in the prompt what to make.",
    "lost_result": "The result was made, and is no longer there. Trying again pays for it again.",
    "success": "",
}
MONEY_REMEDY = "Add credit or raise the limit in the provider's account: waiting does not help."
SMALLER_REMEDY = (
    "Make the request smaller (less input, or a lower cap on the output), or have the account's "
    "limit raised: this one call is larger than all of it."
)
OURS_REMEDY = "It was our own deadline: allow more time for the call."


@dataclass(frozen=True, slots=True)
class Signal:
    """What an answer says: how the call ended, whether and when to try again, which limits.

    ``word`` is the class, ``retry`` whether the same call may do better later. ``wait_s``
    is above zero, ``None`` where the answer names no wait; ``wait_from`` is where the wait
    (or, where the status misleads, the class) was found. ``reason`` is the provider's
    own message, cut and without keys; ``remedy`` what a person can do.
    """

    word: str
    kind: OutcomeKind
    retry: bool
    wait_s: float | None
    wait_from: str | None
    said: Said
    reason: str
    remedy: str


def read_signal(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: object | bytes | str | None,
    now: datetime | None = None,
) -> Signal:
    """Read one answer; never raises, whatever it holds.

    ``status`` 0 stands for a call that broke off, with the error's text as ``body``.
    ``now`` is what dates count from when the answer has no ``Date`` of its own. An
    unknown ``provider`` is read in the general way.
    """
    answer = read_answer(provider, status, headers, body)
    at = moment_of(answer.headers, now)
    verdict = judge(answer)
    buckets = read_buckets(answer.headers)
    wait = _wait(answer, verdict, buckets, at)
    return Signal(
        word=verdict.word,
        kind=KINDS.get(verdict.word) or OutcomeKind(verdict.word),
        retry=verdict.word in AGAIN if verdict.retry is None else verdict.retry,
        wait_s=wait.wait_s if wait is not None else None,
        wait_from=wait.found if wait is not None else verdict.found,
        said=_said(answer, verdict, buckets, at),
        reason=_reason(answer, verdict),
        remedy=_remedy(verdict),
    )


def _wait(
    answer: Answer, verdict: Verdict, buckets: list[Bucket], at: datetime | None
) -> Wait | None:
    if verdict.word not in WAITING or not verdict.waits or verdict.retry is False:
        return None
    wait = find_wait(answer.headers, answer.body, answer.texts, at)
    if wait is None and verdict.word in FULL_BUCKETS:
        wait = reset_wait(buckets, at)
    return wait


def _said(answer: Answer, verdict: Verdict, buckets: list[Bucket], at: datetime | None) -> Said:
    limits = {(limit.dimension, limit.window_s): limit for limit in limits_of(buckets, at)}
    refused = verdict.word in FULL_BUCKETS
    if refused:
        words = limits_in_quotas(answer.body, answer.texts) + limits_in_texts(answer.texts)
        for limit in words:
            key = (limit.dimension, limit.window_s)
            limits[key] = _merged(limits.get(key), limit)
    return Said(
        limits=tuple(limits.values()),
        bucket=_bucket(answer, verdict, buckets),
        ramp=verdict.ramp,
        tokens=_tokens(answer.body),
    )


def _merged(announced: Limit | None, stated: Limit) -> Limit:
    """What a header announced, with what only the words knew."""
    if announced is None:
        return stated
    return Limit(
        stated.dimension,
        announced.amount if announced.amount is not None else stated.amount,
        stated.window_s,
        announced.remaining if announced.remaining is not None else stated.remaining,
        announced.reset_s,
    )


_BUCKET_CODES = {
    "tokens": Dimension.TOKENS,
    "requests": Dimension.REQUESTS,
    "input-images": Dimension.IMAGES,
    "images": Dimension.IMAGES,
}


def _bucket(answer: Answer, verdict: Verdict, buckets: list[Bucket]) -> Dimension | None:
    """Which limit refused: by the error's own words, then by what is empty, then by custom."""
    if verdict.word == "overloaded":
        told = bucket_in_texts(answer.texts)
        return told if told is Dimension.CONCURRENCY else None
    if verdict.word not in FULL_BUCKETS or verdict.ramp:
        return None
    for code in answer.codes:
        if code in _BUCKET_CODES:
            return _BUCKET_CODES[code]
    told = bucket_in_texts(answer.texts) or bucket_in_quotas(answer.body)
    if told is not None:
        return told
    empty = [bucket.dimension for bucket in buckets if bucket.empty]
    if empty:
        return empty[0]
    return profile_of(answer.provider).bucket if verdict.word == "rate_limited" else None


_TOKEN_FIELDS = (
    (("usage", "total_tokens"),),
    (("usageMetadata", "totalTokenCount"),),
    (("usage", "input_tokens"), ("usage", "output_tokens")),
    (("usage", "prompt_tokens"), ("usage", "completion_tokens")),
    (("prompt_eval_count",), ("eval_count",)),
)


def _tokens(body: Mapping[str, Any]) -> int | None:
    """The tokens that the call really used, as a whole or as input and output."""
    for paths in _TOKEN_FIELDS:
        counts = [read_number(dig(body, *path)) for path in paths]
        known = [count for count in counts if count is not None and count <= TOKENS_MAX]
        if known and len(known) == len(counts):
            return int(sum(known))
    return None


# -- for people --------------------------------------------------------------------------

HINT_PATHS = (
    ("predictions", EACH, "raiFilteredReason"),
    ("choices", EACH, "message", "refusal"),
    ("choices", EACH, "finish_reason"),
    ("promptFeedback", "blockReasonMessage"),
    ("promptFeedback", "blockReason"),
    ("candidates", EACH, "finishMessage"),
    ("candidates", EACH, "finishReason"),
    ("status",),
    ("details", "Moderation Reasons", EACH),
    ("stop_reason",),
    ("finish_reason",),
)
"""What tells people why, in answers that have no message."""

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|r8|hf|ghp|gsk|xai|key|whsec|fal|tgp)[-_][\w*.-]{6,}"
    r"|\bAIza[\w-]{10,}|\bya29\.[\w.-]{10,}|\beyJ[\w-]{10,}(?:\.[\w-]+){0,2}"
    r"|(?<=Bearer )\S{6,}|(?<=Basic )\S{6,}|(?<=Key )[\w:-]{16,}"
    r"|(?<=key=)[^\s&\"']{6,}|(?<=token=)[^\s&\"']{6,}"
    r"|\b(?!req_)(?=\w*\d)(?=\w*[a-z])[a-z0-9_]{32,}\b",
    re.I | re.A,
)


def _reason(answer: Answer, verdict: Verdict) -> str:
    """One sentence: the provider's message if it has one, with the status behind it."""
    if verdict.word == "success":
        return ""
    texts = [text for _, text in answer.texts]
    message = next((text for text in texts if " " in text), texts[0] if texts else "")
    message = _SECRET.sub("[masked]", collapsed(message)[: 4 * REASON_CHARS_MAX])
    if len(message) > REASON_CHARS_MAX:
        message = message[: REASON_CHARS_MAX - 1].rstrip() + "…"
    if not message:
        return _bare(answer, verdict)
    return message if answer.status == 0 else f"{message} (HTTP {answer.status})"


def _bare(answer: Answer, verdict: Verdict) -> str:
    said = verdict.word.replace("_", " ")
    if answer.status == 0:
        return f"{said}: the connection broke off without an answer"
    hints = [hint for path in HINT_PATHS for hint in gather(answer.body, path)]
    hints += answer.codes if answer.status >= 300 else [answer.headers.get("finish-reason")]
    words = dict.fromkeys(collapsed(hint) for hint in hints if isinstance(hint, str) and hint)
    told = _SECRET.sub("[masked]", ", ".join(words))[:REASON_CHARS_MAX]
    return f"{said}: {told} (HTTP {answer.status})" if told else f"{said} (HTTP {answer.status})"


def _remedy(verdict: Verdict) -> str:
    if verdict.word == "quota_exhausted" and not verdict.waits and verdict.found is None:
        return MONEY_REMEDY
    if verdict.large and verdict.word == "invalid":
        return SMALLER_REMEDY
    if verdict.word == "timeout" and verdict.retry is False:
        return OURS_REMEDY
    return REMEDIES[verdict.word]
