"""What calls used, read from the usage objects of the APIs, the recorded ones among them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.price_table import Usage
from headrace.providers.remote.usage import anthropic, gemini, openai_image, openai_text, replicate

READERS = (openai_text, openai_image, anthropic, gemini)
counts = st.integers(-5, 10**13) | st.booleans() | st.none() | st.floats() | st.text(max_size=3)
names = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "prompt_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
        "cached_tokens",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "server_tool_use",
        "cache_read_input_tokens",
        "promptTokenCount",
        "candidatesTokenCount",
        "promptTokensDetails",
        "candidatesTokensDetails",
        "modality",
        "tokenCount",
        "thoughtsTokenCount",
    ]
)
objects = st.recursive(
    counts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6)
)


def test_chat_and_responses_of_openai() -> None:
    """Cached input is told as a part of the input, reasoning as a part of the output."""
    chat = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    assert openai_text(chat) == Usage(input_tokens=40, cached_tokens=60, output_tokens=40)
    responses = {
        "input_tokens": 1889,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1434,
        "output_tokens_details": {"reasoning_tokens": 1280},
        "total_tokens": 3323,
    }
    assert openai_text(responses) == Usage(input_tokens=1889, output_tokens=1434)


def test_images_of_openai() -> None:
    """Text and pictures that go in are apart; what comes out is a picture unless told."""
    usage = {
        "input_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens": 272,
        "total_tokens": 322,
    }
    assert openai_image(usage, "1024x1024", "LOW") == Usage(
        input_tokens=10,
        image_input_tokens=40,
        image_output_tokens=272,
        images=1,
        size="1024x1024",
        quality="low",
    )
    assert openai_image(None, "1024x1024", 7) == Usage(images=1, size="1024x1024")


def test_a_message_of_anthropic() -> None:
    """What was cached is not in the input tokens there."""
    usage = {
        "input_tokens": 17,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 10,
        "service_tier": "standard",
    }
    assert anthropic(usage) == Usage(
        input_tokens=17, cached_tokens=5, cache_write_tokens=3, output_tokens=10
    )
    assert anthropic({**usage, "service_tier": "priority"}) is None
    assert anthropic({**usage, "speed": "fast"}) is None
    assert anthropic({**usage, "inference_geo": "us"}) is None
    assert anthropic({**usage, "inference_geo": "global", "speed": "standard"}) is not None
    assert anthropic({**usage, "cache_creation": {"ephemeral_1h_input_tokens": 3}}) is None
    assert anthropic({**usage, "server_tool_use": {"web_search_requests": 1}}) is None
    assert anthropic({**usage, "server_tool_use": {"web_search_requests": 0}}) is not None


def test_a_prediction_of_replicate() -> None:
    """Seconds, and images as the metrics count them, else as there were files."""
    assert replicate({"predict_time": 2.5, "total_time": 9.0}, 2) == Usage(images=2, seconds=2.5)
    assert replicate({"image_count": 1}, 2) == Usage(images=1)
    tokens = {"input_token_count": 5, "output_token_count": 7, "predict_time": 1}
    assert replicate(tokens, 0) == Usage(input_tokens=5, output_tokens=7, seconds=1)
    assert replicate(None, 1) == Usage(images=1)
    assert replicate([], 1) is None
    assert replicate({"output_token_count": -1}, 1) is None


def test_an_image_of_gemini() -> None:
    """The image among the candidates is apart from their text, and thinking is output."""
    usage = {
        "candidatesTokenCount": 1283,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
        "promptTokenCount": 14,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 14}],
        "thoughtsTokenCount": 174,
        "totalTokenCount": 1471,
    }
    assert gemini(usage, images=1) == Usage(
        input_tokens=14, output_tokens=163 + 174, image_output_tokens=1120, images=1
    )
    sent = {
        "promptTokenCount": 300,
        "cachedContentTokenCount": 20,
        "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}],
        "candidatesTokenCount": 9,
    }
    assert gemini(sent) == Usage(
        input_tokens=22, cached_tokens=20, image_input_tokens=258, output_tokens=9
    )


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1, "prompt_tokens_details": {"audio_tokens": 1}},
        {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
        {"prompt_tokens": -1},
        {"prompt_tokens": 10**13},
        {"prompt_tokens": 1.5},
        {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}]},
        {},
        None,
        [],
        "usage",
    ],
)
def test_what_cannot_be_priced_is_unknown(usage: Any) -> None:
    """Sound, contradictions, absurd counts, and no counts at all."""
    assert openai_text(usage) is None
    assert gemini(usage) is None


@given(objects)
def test_nothing_breaks_the_readers(usage: Any) -> None:
    """Whatever a stranger sends, a reader returns counts that can be true, or nothing."""
    for read in READERS:
        found = read(usage)
        assert found is None or all(
            value >= 0
            for value in (found.input_tokens, found.output_tokens, found.image_output_tokens)
        )
