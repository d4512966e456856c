"""What answers of providers say: recorded and reported ones, and many more by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.limits import DAY_S, Dimension, Limit
from headrace.outcome import OutcomeKind
from headrace.refusals import PROFILES
from headrace.signals import Signal, read_signal

DATA = Path(__file__).parents[1] / "data" / "error_responses.jsonl"
SAMPLES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DATE = {"date": "Sat, 21 Nov 2026 12:00:00 GMT"}
GOOGLE = "type.googleapis.com/google.rpc."


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["id"] for sample in SAMPLES])
def test_every_known_answer_is_read_as_it_must_be(sample: dict[str, Any]) -> None:
    """Class, retry, wait and where it was found, for answers that were seen in the field."""
    signal = read_signal(sample["provider"], sample["status"], sample["headers"], sample["body"])
    assert told(signal) == sample["expect"]


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["id"] for sample in SAMPLES])
def test_bytes_text_and_objects_are_the_same_answer(sample: dict[str, Any]) -> None:
    """A body may come decoded or not, and header names in any case."""
    headers = {name.title(): value for name, value in sample["headers"].items()}
    body = sample["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    for form in (text, text.encode(), b"\xef\xbb\xbf" + text.encode()):
        signal = read_signal(sample["provider"], sample["status"], headers, form)
        assert told(signal) == sample["expect"]


def told(signal: Signal) -> dict[str, Any]:
    """A signal in the words of the data file."""
    return {
        "class": signal.word,
        "retry": signal.retry,
        "wait_s": signal.wait_s,
        "wait_from": signal.wait_from,
    }


def read(provider: str = "generic", status: int = 429, body: Any = None, **headers: str) -> Signal:
    """Read an answer; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_signal(provider, status, named, body, NOW)


def error(message: str = "", code: Any = None, kind: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's API writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# (provider, status, body, class, retry)
MEANINGS: dict[str, tuple[str, int, Any, str, bool]] = {
    "ok": ("openai", 200, {"choices": [{"message": {"content": "x"}}]}, "success", False),
    "accepted": ("fal", 202, {"status": "IN_QUEUE", "queue_position": 3}, "success", False),
    "job goes on": ("replicate", 200, {"status": "processing", "output": None}, "success", False),
    "unknown state": ("bfl", 200, {"status": "Dreaming", "result": None}, "success", False),
    "image bytes": ("stability", 200, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "success", False),
    "gemini image bytes": ("gemini", 200, b"\x89PNG\r\n\x1a\n\0\0\0\r", "success", False),
    "imejis warnings": ("imejis", 200, {"url": "u", "warnings": ["no field x"]}, "success", False),
    "no content": ("generic", 204, b"", "success", False),
    "moved": ("generic", 301, "", "invalid", False),
    "bad request": ("openai", 400, error("Invalid size"), "invalid", False),
    "unauthorized": ("openai", 401, error("Incorrect API key"), "auth", False),
    "payment": ("replicate", 402, {"detail": "Payment needed"}, "quota_exhausted", False),
    "forbidden": ("openai", 403, error("Country not supported"), "auth", False),
    "missing": ("openai", 404, error("no model", "model_not_found"), "not_found", False),
    "method": ("openai", 405, "", "invalid", False),
    "timeout": ("openai", 408, "", "timeout", True),
    "conflict": ("openai", 409, error("lock timeout"), "transient", True),
    "gone": ("replicate", 410, "", "lost_result", False),
    "too large": ("anthropic", 413, error("x", None, "request_too_large"), "invalid", False),
    "validation": (
        "fal",
        422,
        {"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]},
        "invalid",
        False,
    ),
    "legal": ("generic", 451, "", "refused", False),
    "cancelled": ("ollama", 499, {"error": "request canceled"}, "transient", True),
    "server": ("openai", 500, error("The server had an error", None), "transient", True),
    "not built": ("generic", 501, "", "invalid", False),
    "gateway page": ("openrouter", 502, "<html>Bad Gateway</html>", "transient", True),
    "busy": (
        "ollama",
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        "overloaded",
        True,
    ),
    "deadline": ("gemini", 504, {"error": {"status": "DEADLINE_EXCEEDED"}}, "timeout", True),
    "gateway timeout page": ("generic", 504, b"<html>504</html>", "unknown_outcome", True),
    "cloudflare 520": ("replicate", 520, "<!DOCTYPE html>", "unknown_outcome", True),
    "cloudflare 522": ("replicate", 522, "<!DOCTYPE html>", "unknown_outcome", True),
    "cloudflare 525": ("replicate", 525, "<!DOCTYPE html>", "transient", True),
    "reset": ("generic", 0, "Connection reset by peer", "unknown_outcome", True),
    "broken off": ("generic", 0, None, "unknown_outcome", True),
    "refused connection": ("generic", 0, "[Errno 111] Connection refused", "transient", True),
    "no such host": ("generic", 0, "Name or service not known", "transient", True),
    # one status, several meanings
    "money in a 400": (
        "anthropic",
        400,
        error("Your credit balance is too low to access the API.", None, "invalid_request_error"),
        "quota_exhausted",
        False,
    ),
    "locked fal account": (
        "fal",
        403,
        {"detail": "User is locked. Reason: Exhausted balance. Top up your balance."},
        "quota_exhausted",
        False,
    ),
    "spend limit": (
        "anthropic",
        429,
        {
            "error": {
                "type": "rate_limit_error",
                "details": {"error_code": "enforced_spend_limit_reached"},
            }
        },
        "quota_exhausted",
        False,
    ),
    "openai quota through a proxy": (
        "litellm",
        429,
        error(
            "litellm.RateLimitError: OpenAIException - You exceeded your current quota, "
            "please check your plan and billing details.",
            "429",
        ),
        "quota_exhausted",
        False,
    ),
    "google quota through a proxy": (
        "litellm",
        429,
        error("VertexAIException - You exceeded your current quota. Please retry in 7s.", "429"),
        "rate_limited",
        True,
    ),
    "free day": (
        "openrouter",
        429,
        error("Rate limit exceeded: free-models-per-day", 429),
        "quota_exhausted",
        False,
    ),
    "google limit zero": (
        "gemini",
        429,
        error("Quota exceeded for metric: x/images, limit: 0\nPlease retry in 9s."),
        "quota_exhausted",
        False,
    ),
    "google bare": (
        "gemini",
        429,
        error("Resource has been exhausted (e.g. check quota)."),
        "rate_limited",
        True,
    ),
    "google key": ("gemini", 400, error("API key not valid. Pass a valid API key."), "auth", False),
    "google in a list": ("gemini", 503, [error("overloaded")], "overloaded", True),
    "no capacity": (
        "gemini",
        429,
        {"error": {"details": [{"reason": "MODEL_CAPACITY_EXHAUSTED"}]}},
        "overloaded",
        True,
    ),
    "openai engine": ("openai", 429, error("That model is overloaded."), "overloaded", True),
    "azure filter": (
        "openai",
        400,
        {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicy"}}},
        "refused",
        False,
    ),
    "parameter named moderation": (
        "openai",
        400,
        error("Unknown parameter: 'moderation'.", "unknown_parameter"),
        "invalid",
        False,
    ),
    "openrouter moderation": ("openrouter", 403, error("Input was flagged"), "refused", False),
    "imejis template": ("imejis", 404, {"error": "Design not found"}, "not_found", False),
    "expired link": (
        "bfl",
        403,
        "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
        "lost_result",
        False,
    ),
    "expired key": ("generic", 403, {"error": "token expired"}, "auth", False),
    "fal generation": (
        "fal",
        422,
        {"detail": [{"type": "generation_timeout", "msg": "x"}]},
        "timeout",
        True,
    ),
    # failures inside of successful answers
    "openrouter inside": ("openrouter", 200, {"error": {"code": 429}}, "rate_limited", True),
    "openrouter 502 inside": ("openrouter", 200, {"error": {"code": 502}}, "transient", True),
    "anthropic stream": (
        "anthropic",
        200,
        {"type": "error", "error": {"type": "overloaded_error"}},
        "overloaded",
        True,
    ),
    "chat filtered": (
        "openai",
        200,
        {"choices": [{"finish_reason": "content_filter", "message": {}}]},
        "refused",
        False,
    ),
    "chat refusal": (
        "openai",
        200,
        {"choices": [{"finish_reason": "stop", "message": {"refusal": "I cannot."}}]},
        "refused",
        False,
    ),
    "no choices": ("openai", 200, {"choices": []}, "no_output", True),
    "no images": ("openai", 200, {"created": 1, "data": []}, "no_output", True),
    "responses refusal": (
        "openai",
        200,
        {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]},
        "refused",
        False,
    ),
    "responses filtered": (
        "openai",
        200,
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
        "refused",
        False,
    ),
    "fal completed with error": (
        "fal",
        200,
        {"status": "COMPLETED", "error": "x", "error_type": "content_policy_violation"},
        "refused",
        False,
    ),
    "fal completed": ("fal", 200, {"status": "COMPLETED", "error": None}, "success", False),
    "fal black image": (
        "fal",
        200,
        {"images": [{"url": "u"}], "has_nsfw_concepts": [True]},
        "refused",
        False,
    ),
    "fal one black": (
        "fal",
        200,
        {"images": [{}, {}], "has_nsfw_concepts": [True, False]},
        "success",
        False,
    ),
    "bfl error refused": (
        "bfl",
        200,
        {"status": "Error", "error": "content_policy_violation"},
        "refused",
        False,
    ),
    "bfl ready": ("bfl", 200, {"status": "Ready", "result": {"sample": "u"}}, "success", False),
    "replicate aborted": ("replicate", 200, {"status": "aborted"}, "timeout", True),
    "replicate unknown": (
        "replicate",
        200,
        {"status": "failed", "error": "Unknown error (E1000)"},
        "transient",
        True,
    ),
    "replicate demand": (
        "replicate",
        200,
        {"status": "failed", "error": "Service is unavailable due to high demand (E003)"},
        "overloaded",
        True,
    ),
    "replicate input": (
        "replicate",
        200,
        {"status": "failed", "error": "ValueError: width must be a multiple of 8"},
        "invalid",
        False,
    ),
    "replicate nothing": (
        "replicate",
        200,
        {"status": "succeeded", "output": []},
        "no_output",
        True,
    ),
    "imejis inside": ("imejis", 200, {"success": False, "error": "x"}, "transient", True),
    "gemini words from a text model": (
        "gemini",
        200,
        {
            "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
            "modelVersion": "gemini-2.5-flash",
        },
        "success",
        False,
    ),
    "gemini image": (
        "gemini",
        200,
        {"candidates": [{"content": {"parts": [{"inlineData": {}}]}, "finishReason": "STOP"}]},
        "success",
        False,
    ),
    "gemini unsafe": (
        "gemini",
        200,
        {"candidates": [{"finishReason": "IMAGE_SAFETY"}]},
        "refused",
        False,
    ),
    "gemini again": (
        "gemini",
        200,
        {"candidates": [{"finishReason": "NO_IMAGE"}]},
        "no_output",
        True,
    ),
    "imagen nothing": ("vertex", 200, {}, "no_output", True),
    "imagen some": (
        "vertex",
        200,
        {"predictions": [{"bytesBase64Encoded": "x"}, {"raiFilteredReason": "x"}]},
        "success",
        False,
    ),
    "empty": ("openai", 200, b"", "no_output", True),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_an_answer_has_one_meaning(name: str) -> None:
    """Status, body and provider together decide the class and whether to try again."""
    provider, status, body, word, retry = MEANINGS[name]
    signal = read(provider, status, body)
    assert (signal.word, signal.retry) == (word, retry), signal


@pytest.mark.parametrize("provider", [*PROFILES, "fal-platform", "never heard of", ""])
@pytest.mark.parametrize(
    ("status", "word"),
    [
        (200, "success"),
        (401, "auth"),
        (429, "rate_limited"),
        (500, "transient"),
        (503, "overloaded"),
    ],
)
def test_the_general_reading_holds_for_every_provider(
    provider: str, status: int, word: str
) -> None:
    """Statuses alone mean the same everywhere, also for names that nobody knows."""
    assert read(provider, status).word == word


def test_a_page_where_an_api_should_be_is_no_success() -> None:
    """A login page of a proxy answers 200 as well."""
    assert (
        read(status=200, body="<html>Sign in</html>", content_type="text/html").word == "transient"
    )


def test_stabilitys_header_tells_of_a_blurred_image() -> None:
    """With raw bytes as the body, the refusal stands in a header."""
    signal = read("stability", 200, b"\x89PNG\0", finish_reason="CONTENT_FILTERED")
    assert (signal.word, signal.wait_from) == ("refused", "finish-reason")


@pytest.mark.parametrize(
    ("provider", "status", "header", "value", "word", "retry"),
    [
        ("fal", 500, "x-fal-retryable", "false", "transient", False),
        ("fal", 422, "x-fal-retryable", "true", "transient", True),
        ("fal", 422, "x-fal-needs-retry", "1", "transient", True),
        ("fal", 500, "x-fal-retryable", "true", "transient", True),
        ("openai", 429, "x-should-retry", "false", "rate_limited", False),
        ("openai", 400, "x-should-retry", "true", "invalid", False),
    ],
)
def test_a_provider_may_say_outright_whether_to_try_again(
    provider: str, status: int, header: str, value: str, word: str, retry: bool
) -> None:
    """Its own word wins over what the status means, but never sends a bad request again."""
    signal = read_signal(provider, status, {header: value}, {"detail": "x"})
    assert (signal.word, signal.retry) == (word, retry)


def test_kinds_are_the_engines_words() -> None:
    """The class words lead to outcomes of the closed set."""
    assert read(status=404).kind is OutcomeKind.INVALID
    assert read(status=524).kind is OutcomeKind.UNKNOWN
    assert read(status=429).kind is OutcomeKind.RATE_LIMITED


# -- one call that is larger than the whole limit ------------------------------------------------

LARGE = "Request too large for gpt-4o in organization org-XXXX on tokens per min (TPM): "
FITS = "Rate limit reached for gpt-4o on tokens per min (TPM): "
# name: (status, words, headers, whether it can never fit)
SIZES: dict[str, tuple[int, str, dict[str, str], bool]] = {
    "openai": (429, LARGE + "Limit 30000, Requested 48735. They must be reduced.", {}, True),
    "groq": (413, LARGE + "Limit 6000, Requested 10229, please reduce and try again.", {}, True),
    "with commas": (429, LARGE + "Limit: 30,000 / min, Requested: 48,735.", {}, True),
    "words alone": (429, "Request too large for gpt-4o.", {}, True),
    "numbers alone": (429, FITS + "Limit 30000, Used 0, Requested 30001.", {}, True),
    "by the day": (429, "On tokens per day (TPD): Limit 500, Used 2, Requested 501.", {}, True),
    "a proxy's wait": (429, LARGE + "Limit 9, Requested 10.", {"retry_after": "7"}, True),
    "inside": (200, LARGE + "Limit 30000, Requested 48735.", {}, True),
    "waits": (429, FITS + "Limit 30000, Used 29900, Requested 1000. Try again in 1.2s.", {}, False),
    "no wait": (429, FITS + "Limit 30000, Used 29900, Requested 1000.", {}, False),
    "all of it": (429, FITS + "Limit 30000, Used 9, Requested 30000.", {}, False),
    "words, but it fits": (429, LARGE + "Limit 30000, Used 29900, Requested 1000.", {}, False),
    "words and a wait": (429, "Request too large, for now.", {"retry_after": "7"}, False),
    "numbers and a wait": (429, FITS + "Limit 9, Requested 10. Try again in 5s.", {}, False),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_call_larger_than_its_limit_is_not_tried_again(name: str) -> None:
    """What can never fit ends with a remedy and teaches the lane nothing; what fits waits."""
    status, words, headers, never = SIZES[name]
    signal = read("openai", status, error(words, "rate_limit_exceeded", "tokens"), **headers)
    if never:
        assert (signal.word, signal.retry, signal.wait_s) == ("invalid", False, None)
        assert signal.remedy.startswith("Make the request smaller")
        assert (signal.said.limits, signal.said.bucket) == ((), None)
        assert words in signal.reason
    else:
        assert (signal.word, signal.retry) == ("rate_limited", True)
        assert signal.said.bucket is Dimension.TOKENS


# -- waits ---------------------------------------------------------------------------------

WAITS: dict[str, tuple[dict[str, str], Any, float | None, str | None]] = {
    "ms first": ({"retry-after": "2", "retry-after-ms": "1500"}, None, 1.5, "retry-after-ms"),
    "float": ({"retry-after": "0.25"}, None, 0.25, "retry-after"),
    "duration": ({"retry-after": "1m3s"}, None, 63.0, "retry-after"),
    "http date": (
        {"retry-after": "Sat, 21 Nov 2026 12:00:40 GMT"} | DATE,
        None,
        40.0,
        "retry-after as date",
    ),
    "http date, no Date": (
        {"retry-after": "Sat, 21 Nov 2026 12:01:00 GMT"},
        None,
        60.0,
        "retry-after as date",
    ),
    "server's own clock": (
        {"retry-after": "Sat, 21 Nov 2026 09:00:10 GMT", "date": "Sat, 21 Nov 2026 09:00:00 GMT"},
        None,
        10.0,
        "retry-after as date",
    ),
    "epoch": ({"retry-after": str(int(NOW.timestamp()) + 9)}, None, 9.0, "retry-after as epoch"),
    "hours stay": ({"retry-after": "36000"}, None, 36000.0, "retry-after"),
    "absurd": ({"retry-after": "999999999"}, None, 40 * DAY_S, "retry-after"),
    "zero looks on": ({"retry-after": "0"}, {"retry_after": 7}, 7.0, "body.retry_after"),
    "negative": ({"retry-after": "-5"}, None, None, None),
    "past": ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, None, None, None),
    "nan": ({"retry-after": "nan"}, None, None, None),
    "infinite": ({"retry-after": "inf", "retry-after-ms": "1e999"}, None, None, None),
    "words": ({"retry-after": "soon"}, None, None, None),
    "empty": ({"retry-after": ""}, None, None, None),
    "renamed": ({"llm_provider-retry-after": "28"}, None, 28.0, "llm_provider-retry-after"),
    "azure": ({"x-ms-retry-after-ms": "800"}, None, 0.8, "x-ms-retry-after-ms"),
    "body text": ({}, {"retry_after": "12"}, 12.0, "body.retry_after"),
    "body list": ({}, {"retry_after": [12]}, None, None),
    "body true": ({}, {"retry_after": True}, None, None),
    "body nan": ({}, {"retry_after": float("nan")}, None, None),
    "body huge": ({}, {"retry_after": 10**400}, None, None),
    "retry info": (
        {},
        {"error": {"details": [{"@type": GOOGLE + "RetryInfo", "retryDelay": "37.36s"}]}},
        37.36,
        "error.details[RetryInfo].retryDelay",
    ),
    "retry info apart": (
        {},
        {
            "error": {
                "details": [
                    {"@type": GOOGLE + "RetryInfo", "retryDelay": {"seconds": "3", "nanos": 5e8}}
                ]
            }
        },
        3.5,
        "error.details[RetryInfo].retryDelay",
    ),
    "retry info in a proxy's text": (
        {},
        error('{"@type": "RetryInfo", "retryDelay": "21s"}'),
        21.0,
        "body.error.message text",
    ),
    "try again ms": ({}, error("Please try again in 534ms."), 0.534, "body.error.message text"),
    "try again m s": ({}, error("Please try again in 1m3s."), 63.0, "body.error.message text"),
    "try again h m s": ({}, error("try again in 1h2m3.5s"), 3723.5, "body.error.message text"),
    "retry in": ({}, {"message": "Please retry in 37.3s."}, 37.3, "body.message text"),
    "resets in": ({}, {"detail": "limit resets in ~5s."}, 5.0, "body.detail text"),
    "timed out for": (
        {},
        {"errors": ["You have been timed out for 60 seconds."]},
        60.0,
        "body.errors[] text",
    ),
    "azure words": ({}, error("Please retry after 26 seconds."), 26.0, "body.error.message text"),
    "minutes and seconds": (
        {},
        {"error": "Please wait for 1 minute and 30 seconds"},
        90.0,
        "body.error text",
    ),
    "a date in words": (
        {},
        {"error": "Limit resets at 2026-11-21T12:10:00Z."},
        600.0,
        "body.error text",
    ),
    "plain text": ({}, "Slow down: retry in 3s", 3.0, "body text"),
    "not a wait": ({}, error("Request timed out after 30 seconds"), None, None),
    "far": ({}, error("x" * 9000 + " try again in 5s"), None, None),
    "empty bucket only": (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1m0s",
            "x-ratelimit-remaining-tokens": "9",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        None,
        60.0,
        "x-ratelimit-reset-requests",
    ),
    "no bucket empty": (
        {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "60s"},
        None,
        None,
        None,
    ),
    "two empty": (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-remaining-tokens": "-4",
            "x-ratelimit-reset-tokens": "58.891s",
        },
        None,
        58.891,
        "x-ratelimit-reset-tokens",
    ),
    "lone reset": ({"x-ratelimit-reset": "17"}, None, 17.0, "x-ratelimit-reset"),
    "milliseconds since 1970": (
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW.timestamp() * 1000 + 4000)},
        None,
        4.0,
        "x-ratelimit-reset as epoch",
    ),
    "rfc 3339": (
        {
            "anthropic-ratelimit-requests-remaining": "7",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:11Z",
        },
        None,
        11.0,
        "anthropic-ratelimit-input-tokens-reset as date",
    ),
    "replicate": (
        {"ratelimit-remaining": "0", "ratelimit-reset": "1"},
        None,
        1.0,
        "ratelimit-reset",
    ),
    "ietf of two": (
        {"ratelimit": '"burst";r=0;t=5, "day";r=10;t=3600'},
        None,
        5.0,
        "ratelimit t=",
    ),
    "ietf old": ({"ratelimit": "limit=100, remaining=0, reset=30"}, None, 30.0, "ratelimit reset="),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_found_where_it_stands(name: str) -> None:
    """The most exact place first, only usable values, and its name is told."""
    headers, body, wait_s, found = WAITS[name]
    signal = read_signal("generic", 429, headers, body, NOW)
    assert signal.word == "rate_limited"
    assert signal.wait_s == pytest.approx(wait_s)
    assert signal.wait_from == found


def test_a_date_says_nothing_without_a_moment_to_count_from() -> None:
    """Neither the server's date nor ours: then the wait is unknown, not wrong."""
    headers = {"retry-after": "Sat, 21 Nov 2026 12:00:40 GMT"}
    assert read_signal("generic", 429, headers, None).wait_s is None


def test_a_monthly_quota_waits_for_its_renewal() -> None:
    """The answer names the date; a plan that does not exist never renews."""
    body = {"success": False, "message": "m", "reason": "r", "data": {"resetAt": "2026-12-01"}}
    signal = read("imejis", 429, body, **DATE)
    days = timedelta(days=9, hours=12).total_seconds()
    assert told(signal) == {
        "class": "quota_exhausted",
        "retry": False,
        "wait_s": days,
        "wait_from": "data.resetAt",
    }


def test_a_day_limit_that_refills_is_waited_for() -> None:
    """OpenAI's requests per day come back one by one and name the wait; others stop the lane."""
    words = "Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1."
    waiting = read("openai", 429, error(words + " Please try again in 7m12s.", None, "requests"))
    assert (waiting.word, waiting.wait_s) == ("rate_limited", 432.0)
    assert read("openai", 429, error(words, None, "requests")).word == "quota_exhausted"


@pytest.mark.parametrize("status", [400, 401, 402, 404, 200])
def test_no_wait_is_told_where_waiting_does_not_help(status: int) -> None:
    """A wrong request stays wrong."""
    assert read(status=status, retry_after="5").wait_s is None


def test_trouble_of_the_provider_may_name_a_wait_too() -> None:
    """503 with Retry-After is as good as 429."""
    assert read(status=503, retry_after="5").wait_s == 5.0
    headers = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "60s"}
    assert read(status=503, **headers).wait_s is None


# -- what is said of limits ------------------------------------------------------------------


def test_ramp_and_concurrency_and_rate_are_told_apart() -> None:
    """The same status asks for a lower rate, a free slot, or a wait."""
    ramp = read("openai", 429, error("x", "slow_down", "rate_limit_error"))
    assert (ramp.said.ramp, ramp.said.bucket) == (True, None)
    empty = {"x_ratelimit_remaining_requests": "0"}
    assert read("openai", 429, error("x", "slow_down"), **empty).said.bucket is None
    assert read("openai", 503, error("x", "slow_down")).said.ramp
    for words in ("Too many concurrent requests", "maximum concurrent calls", "24 active tasks"):
        assert read(body={"error": words}).said.bucket is Dimension.CONCURRENCY
    assert read("bfl", 429).said.bucket is Dimension.CONCURRENCY
    busy = {"error": "server busy, please try again.  maximum pending requests exceeded"}
    assert read("ollama", 503, busy).said.bucket is Dimension.CONCURRENCY
    assert not read(body={"error": "Too many requests"}).said.ramp


@pytest.mark.parametrize(
    ("words", "limits", "bucket"),
    [
        (
            "on tokens per min (TPM): Limit 30000, Used 29446, Requested 821.",
            [Limit(Dimension.TOKENS, 30000.0, 60.0, 554.0)],
            Dimension.TOKENS,
        ),
        (
            "on input-images per min: Limit 5, Used 5, Requested 1.",
            [Limit(Dimension.IMAGES, 5.0, 60.0, 0.0)],
            Dimension.IMAGES,
        ),
        (
            "on requests per day (RPD): Limit 10,000, Used 10,000, Requested 1. try again in 8s",
            [Limit(Dimension.REQUESTS, 10000.0, DAY_S, 0.0)],
            Dimension.REQUESTS,
        ),
        (
            "Rate limit reached for requests per minute: limit 30.",
            [Limit(Dimension.REQUESTS, 30.0, 60.0)],
            Dimension.REQUESTS,
        ),
        (
            "on requests per min (RPM): Limit 0.5, Used 0.5, Requested 1. try again in 80s",
            [Limit(Dimension.REQUESTS, 0.5, 60.0, 0.0)],
            Dimension.REQUESTS,
        ),
        (
            "Your limit is reduced to 6 requests per minute with a burst of 1 requests",
            [Limit(Dimension.REQUESTS, 6.0, 60.0)],
            Dimension.REQUESTS,
        ),
        (
            "exceeded the rate limit of 150 requests within a 10 second period",
            [Limit(Dimension.REQUESTS, 150.0, 10.0)],
            Dimension.REQUESTS,
        ),
        (
            "would exceed your organization's rate limit of 50,000 input tokens per minute",
            [Limit(Dimension.TOKENS, 50000.0, 60.0)],
            Dimension.TOKENS,
        ),
        (
            "would exceed the rate limit of 8,000 output tokens per minute",
            [],
            Dimension.TOKENS,
        ),
        (
            "You may have a maximum of 24 active tasks",
            [Limit(Dimension.CONCURRENCY, 24.0)],
            Dimension.CONCURRENCY,
        ),
        ("have exceeded token rate limit of your pricing tier", [], Dimension.TOKENS),
        ("Too many requests", [], None),
    ],
)
def test_limits_are_learned_from_words(
    words: str, limits: list[Limit], bucket: Dimension | None
) -> None:
    """The message often carries the very limit, and which one refused."""
    said = read(body={"error": {"message": words}}).said
    assert list(said.limits) == limits
    assert said.bucket is bucket


def test_limits_are_learned_from_googles_quotas() -> None:
    """The amount stands in quotaValue, or only in the message."""
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/input_token_count",
        "quotaId": "InputTokensPerModelPerMinute",
        "quotaValue": "250000",
    }
    failure = {"@type": GOOGLE + "QuotaFailure", "violations": [violation]}
    said = read("gemini", 429, {"error": {"details": [failure]}}).said
    assert said.limits == (Limit(Dimension.TOKENS, 250000.0, 60.0),)
    assert said.bucket is Dimension.TOKENS


def test_headers_and_words_make_one_limit() -> None:
    """What was announced is kept, what only the message knew is added."""
    body = error("on requests per min (RPM): Limit 9, Used 9, Requested 1. try again in 6s")
    said = read(body=body, x_ratelimit_limit_requests="10", x_ratelimit_reset_requests="6s").said
    assert said.limits == (Limit(Dimension.REQUESTS, 10.0, 60.0, 0.0, 6.0),)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"usage": {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50}}, 100),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, 7),
        ({"usage": {"input_tokens": 9, "output_tokens": 1}}, 10),
        ({"usageMetadata": {"totalTokenCount": 1304}}, 1304),
        ({"prompt_eval_count": 26, "eval_count": 4}, 30),
        ({"usage": {"total_tokens": -1}}, None),
        ({"usage": {"total_tokens": "many"}}, None),
        ({"usage": []}, None),
        ({}, None),
    ],
)
def test_tokens_used_are_read(body: dict[str, Any], tokens: int | None) -> None:
    """Whatever the provider calls them."""
    assert read("openai", 200, body).said.tokens == tokens


# -- for people --------------------------------------------------------------------------------


def test_the_reason_is_the_providers_own_message() -> None:
    """On one line, cut, with the status behind it."""
    assert read(body=error("Too\n\tfast")).reason == "Too fast (HTTP 429)"
    assert len(read(body=error("x " * 5000)).reason) < 330
    assert read(status=500).reason == "transient (HTTP 500)"
    assert read(status=200, body={"a": 1}).reason == ""
    page = "<html><head><style>b {}</style></head><h1>502 Bad Gateway</h1></html>"
    assert read(status=502, body=page).reason == "502 Bad Gateway (HTTP 502)"
    moderated = {"status": "Request Moderated", "details": {"Moderation Reasons": ["Works"]}}
    assert read("bfl", 200, moderated).reason == "refused: Request Moderated, Works (HTTP 200)"


def test_control_characters_do_not_reach_a_terminal() -> None:
    """A provider's message cannot move the cursor or hide a line."""
    assert read(body=error("a\x1b[2Jb\u202ec\ud800d")).reason.isprintable()


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "r8_abcdefghijklmnop123",
        "AIzaSyA1234567890abcdefg",
        "hf_abcdefghijklmnop",
        "0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    ],
)
def test_keys_are_masked(secret: str) -> None:
    """Some servers quote the key that they reject."""
    signal = read(status=401, body=error(f"Incorrect API key provided: {secret}."))
    assert secret not in signal.reason
    assert "[masked]" in signal.reason
    assert secret not in read(status=401, body={"code": secret}).reason


def test_every_failure_has_a_remedy() -> None:
    """What to do, in a sentence."""
    for provider, status, body, word, _ in MEANINGS.values():
        assert bool(read(provider, status, body).remedy) == (word != "success")


@pytest.mark.parametrize("provider", ["gemini", "openai", "generic"])
def test_google_s_limit_of_a_minute_is_no_want_of_funds(provider: str) -> None:
    """Google says "exceeded your current quota" of a minute's limit too: it passes."""
    body = {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.2s"},
            ],
        }
    }
    signal = read(provider, 429, body)
    assert (signal.word, signal.retry, signal.wait_s) == ("rate_limited", True, 3.2)
