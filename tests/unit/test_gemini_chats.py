"""Chats in OpenAI's words, said in Google's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.outcome import CallFailed, OutcomeKind
from headrace.providers.google import gemini_messages as messages
from headrace.providers.google.gemini_chats import in_googles_words
from headrace.request import Request

HI = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}}


def body(*said: Any, **params: Any) -> dict[str, Any]:
    request = Request("g", "gemini-x", "1", {"messages": [*said], **params})
    found: dict[str, Any] = json.loads(messages.body_of(in_googles_words(request)))
    return found


def test_messages_become_contents() -> None:
    """Roles and parts are Google's; what the system says goes apart; pictures go in."""
    told = body(
        {"role": "system", "content": "Be brief."},
        HI,
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE]},
        {"role": "assistant", "content": ""},
        max_completion_tokens=50,
        temperature=0.5,
        stop="END",
        reasoning_effort="low",
    )
    auto: Any = {"type": "image_url", "image_url": {**PICTURE["image_url"], "detail": "auto"}}  # type: ignore[dict-item]
    assert body({"role": "user", "content": [auto]}) == body({"role": "user", "content": [PICTURE]})
    inline = {"inlineData": {"mimeType": "image/png", "data": "YWJj"}}
    assert told == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {"role": "user", "parts": [{"text": "What is it?"}, inline]},
        ],
        "generationConfig": {
            "maxOutputTokens": 50,
            "temperature": 0.5,
            "stopSequences": ["END"],
            "thinkingConfig": {"thinkingLevel": "LOW"},
        },
    }


def test_json_is_asked_for_in_googles_way() -> None:
    """A schema, or any JSON; a text is asked for by nothing."""
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    config = body(HI, response_format=form)["generationConfig"]
    assert config == {"responseJsonSchema": schema, "responseMimeType": "application/json"}
    config = body(HI, response_format={"type": "json_object"})["generationConfig"]
    assert config == {"responseMimeType": "application/json"}
    assert "generationConfig" not in body(HI, response_format={"type": "text"})


@pytest.mark.parametrize(
    ("said", "params"),
    [
        ("words", {}),
        ("role", {}),
        ({"role": "tool", "content": "x"}, {}),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, {}),
        ({**HI, "name": "Ada"}, {}),
        ({"role": "user", "content": [
            {"type": "image_url", "image_url": {**PICTURE["image_url"], "detail": "low"}}  # type: ignore[dict-item]
        ]}, {}),
        ({"role": "user", "content": 5}, {}),
        ({"role": "user", "content": [{"type": "input_audio"}]}, {}),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, {}),
        ({"role": "user", "content": ["x"]}, {}),
        ({"role": "user", "content": [{**PICTURE, "image_url": {"url": "https://x"}}]}, {}),
        ({"role": "user", "content": [{**PICTURE, "image_url": "data:image/png;x"}]}, {}),
        (HI, {"reasoning_effort": "huge"}),
        (HI, {"reasoning_effort": {}}),
        (HI, {"response_format": {"type": "json_schema", "json_schema": "x"}}),
        (HI, {"temperature": "hot"}),
        ({"role": "system", "content": "alone"}, {}),
    ],
)  # fmt: skip
def test_what_google_has_no_words_for_is_not_sent(said: Any, params: dict[str, Any]) -> None:
    """It ends as invalid, with a remedy, before anything is sent."""
    with pytest.raises(CallFailed) as caught:
        body(said, **params)
    assert caught.value.outcome.kind is OutcomeKind.INVALID


def test_a_picture_in_a_chat_counts_as_one() -> None:
    """Its base64 is no text: the load is that of a picture."""
    url = "data:image/png;base64," + "A" * 400_000
    said = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    request = in_googles_words(Request("g", "gemini-x", "1", {"messages": said}))
    load = messages.load_of(request)
    assert messages.IMAGE_TOKENS <= load.tokens < messages.IMAGE_TOKENS + 50
    assert messages.most_of(request) is None


def test_other_requests_are_left_as_they_are() -> None:
    """A prompt, or contents in Google's own words."""
    request = Request("g", "gemini-x", "1", {"prompt": "x", "response_format": {"a": 1}})
    assert in_googles_words(request) is request
