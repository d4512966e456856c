"""What an answer means: failures hide inside of successful ones, others say it by their status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from headrace.answer import EACH, LIST_ITEMS_MAX, Answer, gather
from headrace.refusals import (
    INSIDE,
    LOST,
    NO_OUTPUT,
    REFUSED,
    TRANSIENT,
    Verdict,
    failed_inside,
    failed_outright,
    profile_of,
)
from headrace.waits import dig, read_number

SUCCESS = Verdict("success")

# States of a job that is polled (Replicate, BFL); what is not named here goes on.
JOB_STATES = {
    "request moderated": Verdict("refused", "status"),
    "content moderated": Verdict("refused", "status"),
    "task not found": Verdict("not_found", "status"),
    # Replicate's deadline passed before it began, which costs nothing.
    "aborted": Verdict("timeout", "status"),
    "canceled": Verdict("timeout", "status", retry=False),
    "cancelled": Verdict("timeout", "status", retry=False),
}
JOB_FAILED = {"failed": None, "failure": None, "error": "status"}
"""States that say only that it failed, with the place to name when nothing says more."""

GEMINI_REFUSALS = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "JAILBREAK",
    )
)
# The API's description and Google's own kit spell it in two ways.
GEMINI_UNSPECIFIED = frozenset(("BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"))
GEMINI_AGAIN = frozenset(("NO_IMAGE", "IMAGE_OTHER", "OTHER", "MALFORMED_RESPONSE"))


def judge(answer: Answer) -> Verdict:
    """Return what an answer means."""
    if not 200 <= answer.status < 300:
        return _overruled(answer, failed_outright(answer))
    found = next((found for look in LOOKS if (found := look(answer)) is not None), None)
    return found or SUCCESS


def _overruled(answer: Answer, verdict: Verdict) -> Verdict:
    """What the provider says outright about trying again wins over what its status means."""
    fal = answer.headers.get("x-fal-retryable", answer.headers.get("x-fal-needs-retry", ""))
    if fal.lower() in ("true", "1") and verdict.word == "invalid":
        return replace(verdict, word="transient", found="x-fal-retryable")
    openai = answer.headers.get("x-should-retry", "")
    for name, said in (("x-fal-retryable", fal), ("x-should-retry", openai)):
        if said.lower() in ("false", "0") and verdict.retry is None:
            return replace(verdict, retry=False, found=verdict.found or _told(verdict, name))
    return verdict


def _told(verdict: Verdict, name: str) -> str | None:
    """The header's name, where it changes what the class alone would mean."""
    return name if verdict.word in ("transient", "overloaded", "timeout", "rate_limited") else None


def _empty(answer: Answer) -> Verdict | None:
    if answer.status in (200, 201) and answer.is_empty:
        return NO_OUTPUT
    # A page where an API should be: a proxy's login, or a wrong address.
    if answer.page.lstrip()[:1] == "<" and "html" in answer.headers.get("content-type", ""):
        return TRANSIENT
    return None


def _job(answer: Answer) -> Verdict | None:
    """Replicate, BFL and fal: the state of a job, with its error beside it."""
    state = answer.body.get("status")
    if not isinstance(state, str):
        return None
    state = state.lower()
    if state in JOB_STATES:
        return JOB_STATES[state]
    if state in JOB_FAILED:
        found = failed_inside(replace(answer, status=INSIDE))
        place = JOB_FAILED[state]
        return found or replace(TRANSIENT, found=place)
    if state == "succeeded":
        if answer.body.get("data_removed") is True:
            return LOST
        if "output" in answer.body and answer.body["output"] in (None, "", [], {}):
            return NO_OUTPUT
    if state == "ready" and "result" in answer.body and not answer.body["result"]:
        return replace(NO_OUTPUT, found="status")
    return None


def _error_inside(answer: Answer) -> Verdict | None:
    """An error under a status of 200: OpenRouter, fal's COMPLETED with error, imejis."""
    body = answer.body
    error = body.get("error") or body.get("error_type")
    if not error and body.get("success") is not False and body.get("type") != "error":
        return None
    inner = read_number(dig(error, "code"))
    if inner is not None and 400 <= inner <= 599:
        return failed_outright(replace(answer, status=int(inner)))
    return failed_inside(replace(answer, status=INSIDE)) or TRANSIENT


def _stopped(answer: Answer) -> Verdict | None:
    """Anthropic's stop_reason, Stability's finish_reason in the body or in a header."""
    if answer.body.get("stop_reason") == "refusal":
        return REFUSED
    for place, said in (
        ("finish_reason", answer.body.get("finish_reason")),
        ("finish-reason", answer.headers.get("finish-reason")),
    ):
        if isinstance(said, str) and said.upper() in ("CONTENT_FILTERED", "CONTENT_FILTER"):
            return Verdict("refused", place)
        if isinstance(said, str) and said.upper() == "ERROR":
            return Verdict("transient", place)
    return None


def _chat(answer: Answer) -> Verdict | None:
    """OpenAI's chat choices and responses: filtered, refused, or none."""
    body = answer.body
    choices = body.get("choices")
    if isinstance(choices, list):
        if not choices:
            return NO_OUTPUT
        return REFUSED if all(map(_declined, choices[:LIST_ITEMS_MAX])) else None
    if dig(body, "incomplete_details", "reason") == "content_filter":
        return REFUSED
    parts = gather(body, ("output", EACH, "content"))
    said = [part for content in parts for part in _objects(content)]
    return REFUSED if said and all(part.get("type") == "refusal" for part in said) else None


def _declined(choice: object) -> bool:
    refusal = dig(choice, "message", "refusal")
    return dig(choice, "finish_reason") == "content_filter" or (
        isinstance(refusal, str) and bool(refusal.strip())
    )


def _images(answer: Answer) -> Verdict | None:
    """Lists of images: none in them, or only such as were blacked out (fal)."""
    flags = answer.body.get("has_nsfw_concepts")
    if isinstance(flags, list) and flags and all(flag is True for flag in flags):
        return Verdict("refused", "has_nsfw_concepts")
    if answer.body.get("images") == [] or ("created" in answer.body and _no_data(answer.body)):
        return NO_OUTPUT
    return None


def _no_data(body: Mapping[str, Any]) -> bool:
    return body.get("data") == []


def _google(answer: Answer) -> Verdict | None:
    """Gemini's candidates and Imagen's predictions."""
    body = answer.body
    if isinstance(reason := dig(body, "promptFeedback", "blockReason"), str) and reason:
        return NO_OUTPUT if reason in GEMINI_UNSPECIFIED else REFUSED
    predictions = _objects(body.get("predictions"))
    if predictions and all(item.get("raiFilteredReason") for item in predictions):
        return REFUSED
    candidates = _objects(body.get("candidates"))
    if not candidates:
        asked = "usageMetadata" in body or "promptFeedback" in body or "candidates" in body
        paints = profile_of(answer.provider).paints
        nothing = body.get("predictions") == [] or (answer.is_json and not body)
        return NO_OUTPUT if asked or (paints and nothing) else None
    ends = [_candidate(candidate, answer) for candidate in candidates]
    if None in ends:
        return None
    return REFUSED if REFUSED in ends else NO_OUTPUT


def _candidate(candidate: Mapping[str, Any], answer: Answer) -> Verdict | None:
    reason = candidate.get("finishReason")
    if isinstance(reason, str) and reason in GEMINI_REFUSALS:
        return REFUSED
    parts = _objects(dig(candidate, "content", "parts"))
    if any("inlineData" in part or "inline_data" in part or "fileData" in part for part in parts):
        return None
    if (isinstance(reason, str) and reason in GEMINI_AGAIN) or not parts:
        return NO_OUTPUT
    return NO_OUTPUT if _asked_image(answer) else None


def _asked_image(answer: Answer) -> bool:
    """Whether an image was wanted: its models paint, and Google's answers name the model."""
    if not profile_of(answer.provider).paints:
        return False
    model = answer.body.get("modelVersion")
    return not isinstance(model, str) or "image" in model


def _objects(value: object) -> list[dict[str, Any]]:
    items = value[:LIST_ITEMS_MAX] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


LOOKS: tuple[Callable[[Answer], Verdict | None], ...] = (
    _empty,
    _job,
    _error_inside,
    _stopped,
    _chat,
    _images,
    _google,
)
"""The places where a failure hides in a successful answer, in the order of looking."""
