"""Whatever a provider answers, reading it never fails and never invents a wait."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.answer import CODE_PATHS, EACH, TEXT_CHARS_MAX, TEXT_PATHS, read_answer
from headrace.limits import WAIT_S_MAX
from headrace.outcome import OutcomeKind
from headrace.refusals import PROFILES
from headrace.signals import Signal, read_announced, read_signal
from headrace.waits import read_duration_s, read_moment, read_number, read_reset

DATA = Path(__file__).parents[1] / "data" / "error_responses.jsonl"
SAMPLES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
PROVIDERS = st.sampled_from([*PROFILES, "fal-platform", "", "who"])
STATUSES = st.one_of(st.sampled_from([0, 200, 400, 403, 404, 422, 429, 503, 504]), st.integers())
WORDS = st.sampled_from(
    [
        *(code for sample in SAMPLES for code in str(sample["body"]).split("'")[1::2]),
        *("try again in 5s", "resets in ~1e9s", "retry in 99999999999999999999s", "9" * 400),
        *("nan", "-1", "inf", "0", "\ud800", "\0", "Limit 5, Used 5", "per day", "<html>"),
    ]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), WORDS
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=8), WORDS), inner, max_size=5),
    ),
    max_leaves=20,
)
NAMES = sorted(
    {name for sample in SAMPLES for name in sample["headers"]}
    | {"date", "ratelimit-reset", "x-fal-retryable", "anthropic-ratelimit-tokens-reset"}
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"\A-?[0-9]{0,30}(\.[0-9]{0,5})?(ms|s|m|h|m[0-9]s|)\Z"),
    st.sampled_from(
        ["Sat, 21 Nov 2026 02:19:30 GMT", "9999-12-31T23:59:59Z", "0001-01-01", "1e308"]
    ),
    WORDS,
)
HEADERS = st.dictionaries(
    st.one_of(st.sampled_from(NAMES), st.text(max_size=30)), VALUES, max_size=8
)
NOW = st.one_of(st.none(), st.datetimes(), st.datetimes(timezones=st.just(UTC)))


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """A body that has something, of any type, where readers look."""
    body: dict[str, Any] = {}
    paths = [path for _, path in (*TEXT_PATHS, *CODE_PATHS)]
    extra = [("error", "details"), ("data", "resetAt"), ("usage",), ("candidates",), ("status",)]
    for path in draw(st.lists(st.sampled_from([*paths, *extra]), max_size=4)):
        at: Any = body
        for key in path[:-1]:
            if key == EACH or not isinstance(at, dict):
                break
            at = at.setdefault(key, {})
        if isinstance(at, dict):
            at[path[-1]] = draw(JSON)
    return body


def check(signal: Signal) -> None:
    """What holds of every signal."""
    assert signal.wait_s is None or 0.0 < signal.wait_s <= WAIT_S_MAX
    assert isinstance(signal.kind, OutcomeKind)
    if signal.kind in (OutcomeKind.INVALID, OutcomeKind.AUTH, OutcomeKind.REFUSED):
        assert not signal.retry
        assert signal.wait_s is None
    assert signal.reason.isprintable()
    assert len(signal.reason) < 400
    for limit in signal.said.limits:
        numbers = (limit.amount, limit.window_s, limit.remaining, limit.reset_s)
        assert all(n is None or (math.isfinite(n) and n >= 0.0) for n in numbers)
        assert limit.amount is None or limit.amount > 0.0
    assert signal.said.tokens is None or signal.said.tokens >= 0


@settings(max_examples=400, deadline=None)
@given(PROVIDERS, STATUSES, HEADERS, st.one_of(JSON, bodies(), st.binary(max_size=200)), NOW)
def test_any_answer_is_read(
    provider: str, status: int, headers: dict[str, str], body: Any, now: datetime | None
) -> None:
    """No type, number or date makes the reader raise, or name a wait that cannot be kept."""
    check(read_signal(provider, status, headers, body, now))
    if isinstance(body, dict | list):
        check(read_signal(provider, status, headers, json.dumps(body), now))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SAMPLES), HEADERS, JSON, st.data())
def test_a_known_answer_with_one_part_spoilt_is_read(
    sample: dict[str, Any], headers: dict[str, str], spoilt: Any, data: st.DataObject
) -> None:
    """Wrong types are worst where everything around them is right."""
    body = sample["body"]
    if isinstance(body, dict):
        body = json.loads(json.dumps(body))
        at = body
        while isinstance(at, dict) and at:
            key = data.draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or data.draw(st.booleans()):
                at[key] = spoilt
                break
            at = at[key]
    check(read_signal(sample["provider"], sample["status"], sample["headers"] | headers, body))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=30)), VALUES, max_size=12)
)
def test_any_headers_are_read(headers: dict[str, str]) -> None:
    """Successful replies go through here, so nothing may break them."""
    for limit in read_announced(headers):
        assert limit.amount is None or limit.amount > 0.0
        assert limit.reset_s is None or 0.0 <= limit.reset_s <= WAIT_S_MAX


@given(st.one_of(VALUES, SCALARS))
def test_any_text_is_a_number_a_duration_a_moment_or_nothing(value: Any) -> None:
    """The readers of single values take whatever comes."""
    number = read_number(value)
    assert number is None or (math.isfinite(number) and number >= 0.0)
    read_reset(value, datetime(2026, 1, 1, tzinfo=UTC))
    if isinstance(value, str):
        duration_s = read_duration_s(value)
        assert duration_s is None or duration_s >= 0.0
        moment = read_moment(value)
        assert moment is None or moment.tzinfo is not None


def test_depth_and_size_are_no_matter() -> None:
    """Deep nests, long lists, long texts: only so much is looked at."""
    deep: Any = "try again in 5s"
    for _ in range(100_000):
        deep = {"error": deep}
    check(read_signal("generic", 429, {}, deep))
    check(read_signal("generic", 429, {}, b'{"error":' * 100_000))
    check(read_signal("generic", 429, {}, "[" * 100_000))
    check(read_signal("fal", 422, {}, {"detail": [{"msg": "x" * 10_000}] * 100_000}))
    assert read_signal("generic", 429, {}, {"error": "a " * 10_000_000}).word == "rate_limited"


def test_texts_are_bounded_together() -> None:
    """Twenty long texts are no more work than one."""
    answer = read_answer("fal", 422, {}, {"detail": [{"msg": "x " * 3000}] * 20, "title": "t"})
    assert sum(len(text) for _, text in answer.texts) <= TEXT_CHARS_MAX
    assert len(answer.texts) > 1


def test_no_pattern_takes_long_on_a_hostile_text() -> None:
    """Texts that nearly match, over and over, are read in bounded work (8 KiB)."""
    for piece in (
        "try again in 1m ",
        "limit 1 ",
        "limit reached 11111 input ",
        "<a <a",
        "1s, and ",
        "violates flagged blocked content ",
        "requests per min: limit 1, used ",
        '";";x=',
        "sk-sk-",
        "0a",
    ):
        text = piece * (20_000 // len(piece))
        headers = {"ratelimit": text, "retry-after": text, "x-ratelimit-reset-tokens": text}
        check(read_signal("generic", 429, headers, {"error": text, "message": text}))
        check(read_signal("replicate", 200, headers, {"status": "failed", "error": text}))
