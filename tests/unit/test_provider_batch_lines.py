"""What batch APIs say, read into values: whatever it is, nothing is raised and nothing made up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.provider_batch import batch_cost
from headrace.providers.anthropic import batches as anthropic
from headrace.providers.openai import batches as openai
from headrace.providers.remote.batch_calls import line_end
from headrace.providers.remote.words import decode_words
from headrace.spans import read_span

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
NAMES = st.sampled_from(
    ["custom_id", "response", "error", "result", "type", "status_code", "body", "code", "id",
     "status", "request_counts", "completed", "errors", "data", "output_file_id"]
)  # fmt: skip
OBJECTS = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=4), max_size=6)


@given(OBJECTS | JSON)
def test_any_line_is_read_or_left(said: Any) -> None:
    """A line of a result file is an end or nothing; it never raises."""
    line = msgspec.json.encode(said)
    for read in (openai._end, anthropic._end):
        end = line_end(line, read)
        assert end is None or isinstance(end.key, str)
        assert line_end(line[:-1] + b"\xff", read) is None


@pytest.mark.parametrize("odd", [b"\xff", b"\xe2\x82", rb"\ud83d"])
def test_a_letter_that_is_none_costs_no_answer(odd: bytes) -> None:
    """An answer with a byte that is not UTF-8, or half a letter, is paid: it is read, mended."""
    ends = {
        openai._end: b'"response":{"status_code":200,"body":{"text":"a%sb"}}',
        anthropic._end: b'"result":{"type":"succeeded","message":{"text":"a%sb"}}',
    }
    for read, end_of_line in ends.items():
        end = line_end(b'{"custom_id":"k",' + end_of_line % odd + b"}", read)
        assert end is not None
        assert (end.is_executed, end.status) == (True, 200)
        assert decode_words(end.body, msgspec.json.decode)["text"].replace("\ufffd", "") == "ab"


@given(OBJECTS)
def test_any_batch_is_read(said: dict[str, Any]) -> None:
    """A batch object of any content gives a look, ended only where it says so."""
    assert openai._look(said).is_ended == (said.get("status") in openai._ENDED)
    assert not anthropic._look(said).is_ended


@pytest.mark.parametrize(
    ("line", "executed", "status"),
    [
        ({"custom_id": "k", "response": {"status_code": 200, "body": {}}}, True, 200),
        ({"custom_id": "k", "response": {"status_code": 429, "body": {}}}, True, 429),
        ({"custom_id": "k", "response": None, "error": {"code": "batch_expired"}}, False, 0),
        ({"custom_id": "k", "error": {"code": "batch_cancelled", "message": "x"}}, False, 0),
    ],
)
def test_openai_lines_tell_whether_they_were_executed(
    line: dict[str, Any], executed: bool, status: int
) -> None:
    """Only a line with a response was executed, whatever its status."""
    end = openai._end(msgspec.json.encode(line))
    assert (end.is_executed, end.status) == (executed, status)


@pytest.mark.parametrize(
    ("result", "executed", "status"),
    [
        ({"type": "succeeded", "message": {"id": "m"}}, True, 200),
        ({"type": "errored", "error": {"type": "error", "error": {"type": "overloaded_error"}}},
         True, 529),
        ({"type": "errored", "error": {"type": "invalid_request_error"}}, True, 400),
        ({"type": "canceled"}, False, 0),
        ({"type": "expired"}, False, 0),
    ],
)  # fmt: skip
def test_anthropic_results_tell_whether_they_were_executed(
    result: dict[str, Any], executed: bool, status: int
) -> None:
    """Cancelled and expired requests were not executed; errors are read as a call's would be."""
    end = anthropic._end(msgspec.json.encode({"custom_id": "k", "result": result}))
    assert (end.is_executed, end.status) == (executed, status)


def test_half_is_rounded_up() -> None:
    """A line never counts as free when a call costs something."""
    assert [batch_cost(cost) for cost in (0, 1, 2, 3)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("24h", 86_400), ("2d", 172_800), ("1.5h", 5400)]
)
def test_spans_are_read(text: str, seconds: float) -> None:
    """A number and a letter are a span of time."""
    assert read_span(text, "--deadline") == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1w", "1h30m", "\u0661h"])
def test_what_is_no_span_is_said(text: str) -> None:
    """Anything else names the option and shows how one looks."""
    with pytest.raises(UsageError) as caught:
        read_span(text, "--deadline")
    assert "--deadline" in str(caught.value)
    assert "24h" in str(caught.value)
