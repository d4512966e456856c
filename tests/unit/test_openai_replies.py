"""What OpenAI-shaped servers say is read whatever it is: into values, never into other errors."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.providers.openai import replies
from headrace.providers.openai.messages import (
    Spelling,
    chat_body,
    image_body,
    image_load,
    image_most,
    responses_body,
    text_load,
    text_most,
)
from headrace.providers.remote.media import media_type_of
from headrace.request import Request

NAMES = st.sampled_from(
    [
        *("choices", "message", "content", "refusal", "finish_reason", "error", "usage", "model"),
        *("id", "output", "status", "type", "text", "incomplete_details", "reason", "data", "url"),
        *("b64_json", "total_tokens", "cost", "moderation_details", "categories", "output_text"),
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TOLD = Outcome(OutcomeKind.NO_OUTPUT, "nothing")


@given(JSON)
def test_any_json_is_read_or_passed_over(value: Any) -> None:
    """Replies of any form give a text, or none; facts and costs are plain values or missing."""
    body = json.dumps(value).encode()
    for text in (replies.read_chat(body), replies.read_response(body)):
        if text is not None:
            assert text.content is None or text.content
            assert replies.without_text(text, TOLD).kind is not OutcomeKind.SUCCESS
            json.dumps(replies.facts_of(text), allow_nan=False)
            tokens = replies.tokens_used(text.usage)
            assert tokens is None or 0 <= tokens <= 10**12
    json.dumps(replies.facts_of(replies.read_image(body)), allow_nan=False)
    json.dumps(replies.moderation_of(body), allow_nan=False)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_passed_over(body: bytes) -> None:
    """Bytes that are no JSON at all are no reply."""
    replies.read_chat(body)
    replies.read_response(body)
    replies.read_image(body)
    replies.moderation_of(body)
    media_type_of(body)


@given(st.dictionaries(NAMES | st.sampled_from(["prompt", "messages", "n", "seed"]), JSON))
def test_any_params_become_a_body_or_an_outcome(params: dict[str, Any]) -> None:
    """Cells of a row may have any form: a body is written, or the call is invalid."""
    request = Request("mine", "m", "1", params, ("0" * 64, "1" * 64))
    for write in (
        lambda: chat_body(request, Spelling(), {}),
        lambda: responses_body(request, Spelling(), {}),
        lambda: image_body(request, Spelling(), "b64_json"),
    ):
        with suppress(CallFailed):
            json.loads(write())
    text_most(request, Spelling(), "responses")
    image_most(request, Spelling(), "b64_json")
    assert text_load(request).tokens > 0
    assert image_load(request).images == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "9" * 5000, True, None, [1], {}])
def test_what_is_no_number_is_not_sent_as_one(value: Any) -> None:
    """A cell that only looks like a number is refused with its name."""
    for name in ("seed", "temperature"):
        wrong = Spelling().wrong_param(name, value)
        assert wrong.startswith(name)
        assert len(wrong) < 200


@pytest.mark.parametrize("fill", [b" ", b"<!-", b"<?a>\n", b"<!\n \n"])
def test_looking_for_a_drawing_ends(fill: bytes) -> None:
    """A head made to be slow to look at is no drawing."""
    for length in range(0, 512, 16):
        assert media_type_of((fill * 512)[:length] + b"<sv") is None
