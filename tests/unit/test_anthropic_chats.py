"""Chats in OpenAI's words, said in Anthropic's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import SystemClock
from headrace.errors import RecipeError
from headrace.openai_answers import tokens_of
from headrace.outcome import CallFailed, OutcomeKind
from headrace.providers.anthropic import messages
from headrace.providers.anthropic.adapter import AnthropicProvider
from headrace.providers.anthropic.chats import OURS, in_anthropics_words, measured
from headrace.request import Request

HI = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,YW\nJj"}}
SCHEMA = {"type": "object", "additionalProperties": False}
CARD = {"name": "card", "input_schema": SCHEMA}


def asks(*said: Any, **params: Any) -> Request:
    return Request("a", "claude-x", "1", {"messages": [*said], **params})


def body(*said: Any, **params: Any) -> dict[str, Any]:
    told = messages.body_of(in_anthropics_words(asks(*said, **params)))
    found: dict[str, Any] = json.loads(told)
    return found


def refusal(*said: Any, **params: Any) -> tuple[str, str]:
    """The reason and the remedy with which a chat is refused as invalid."""
    with pytest.raises(CallFailed) as caught:
        body(*said, **params)
    outcome = caught.value.outcome
    assert outcome.kind is OutcomeKind.INVALID
    return outcome.reason, outcome.remedy


def test_a_chat_is_said_in_anthropics_words() -> None:
    """The system goes apart, pictures and fields are Anthropic's, nothing empty is sent."""
    told = body(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "In German."}]},
        HI,
        {"role": "assistant", "content": "Yes?", "refusal": None, "tool_calls": None},
        {"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, PICTURE]},
        {"role": "user", "content": [{"type": "text", "text": "Say."}]},
        {"role": "assistant", "content": ""},
        max_completion_tokens=50,
        temperature=0.5,
        top_p=0.9,
        stop="END",
        reasoning_effort="low",
        service_tier="default",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": SCHEMA, "strict": True, "description": "A card"},
        },
    )
    source = {"type": "base64", "media_type": "image/png", "data": "YWJj"}
    picture = {"type": "image", "source": source}
    assert told == {
        "model": "claude-x",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In German."}],
        "messages": [
            HI,
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]},
            {"role": "user", "content": [{"type": "text", "text": "Say."}]},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "service_tier": "standard_only",
        "output_config": {
            "effort": "low",
            "format": {"type": "json_schema", "schema": {"description": "A card", **SCHEMA}},
        },
    }


def test_what_asks_for_nothing_is_left_out() -> None:
    """Clients send their defaults along; the most tokens have one of ours."""
    told = body(
        HI, frequency_penalty=0, presence_penalty=0.0, logprobs=False, top_logprobs=0,
        logit_bias={}, verbosity="medium", modalities=["text"], tools=[], tool_choice="auto",
        functions=[], function_call="none", parallel_tool_calls=True, prompt_cache_key="x",
        safety_identifier="me", response_format={"type": "text"}, seed=None,
    )  # fmt: skip
    most = messages.MAX_TOKENS_DEFAULT
    assert told == {"model": "claude-x", "max_tokens": most, "messages": [HI]}


def test_no_thinking_and_system_texts_have_their_own_words() -> None:
    """``none`` turns thinking off; a later system message keeps its place; both systems count."""
    assert body(HI, reasoning_effort="none")["thinking"] == {"type": "disabled"}
    later = body(HI, {"role": "developer", "content": "Stop."}, system="Own")
    assert later["messages"][1] == {"role": "system", "content": "Stop."}
    assert later["system"] == "Own"
    first = {"role": "system", "content": "First"}
    both = [{"type": "text", "text": "First"}, {"type": "text", "text": "Own"}]
    assert body(first, HI, system="Own")["system"] == both
    assert body(first, HI, system=both[1:])["system"] == both
    assert body(first, HI)["system"] == "First"
    assert body(HI, {"role": "assistant", "content": None, "refusal": "No."})["messages"][1] == {
        "role": "assistant", "content": "No.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "params", "named"),
    [
        ("words", {}, "message"),
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, {}, "tool"),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, {}, "tool"),
        ({"role": "user", "content": 5}, {}, "content"),
        ({**HI, "name": "Ada"}, {}, "name"),
        ({"role": "system", "content": [PICTURE]}, {}, "system"),
        ({"role": "system", "content": "alone"}, {}, "messages"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, {}, "input_audio"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, {}, "file"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, {}, "text"),
        ({"role": "user", "content": ["x"]}, {}, "part"),
        ({"role": "user", "content": [{**PICTURE, "image_url": {"url": "http://x"}}]}, {}, "data:"),
        (
            {"role": "user", "content": [
                {**PICTURE, "image_url": {"url": "data:image/bmp;base64,YQ=="}}
            ]}, {}, "image/bmp",
        ),
        (
            {"role": "user", "content": [
                {**PICTURE, "image_url": {**PICTURE["image_url"], "detail": "low"}}  # type: ignore[dict-item]
            ]}, {}, "detail",
        ),
        (HI, {"response_format": {"type": "json_object"}}, "response_format"),
        (HI, {"response_format": {"type": "json_schema", "json_schema": "x"}}, "response_format"),
        (HI, {"reasoning_effort": "minimal"}, "reasoning_effort"),
        (HI, {"reasoning_effort": {}}, "reasoning_effort"),
        (HI, {"reasoning_effort": "low", "output_config": {"effort": "max"}}, "effort"),
        (HI, {"max_completion_tokens": 5, "max_tokens": 6}, "max_completion_tokens"),
        (HI, {"max_completion_tokens": "many"}, "max_tokens"),
        (HI, {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (HI, {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0]"),
        (HI, {"tools": [CARD, {"type": "function", "function": {"name": "f"}}]}, "tools[0]"),
        (HI, {"functions": [{"name": "f"}]}, "functions"),
        (HI, {"tool_choice": "required"}, "tool_choice"),
        (HI, {"tools": [CARD], "tool_choice": ["auto"]}, "tool_choice"),
        (HI, {"tools": [CARD], "tool_choice": 1}, "tool_choice"),
        (HI, {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        (HI, {"service_tier": "flex"}, "service_tier"),
        (HI, {"seed": 7}, "seed"),
        (HI, {"logprobs": True}, "logprobs"),
        (HI, {"logit_bias": {"50256": -100}}, "logit_bias"),
        (HI, {"frequency_penalty": 0.5}, "frequency_penalty"),
        (HI, {"modalities": ["text", "audio"]}, "modalities"),
        (HI, {"web_search_options": {}}, "web_search_options"),
    ],
)  # fmt: skip
def test_what_anthropic_has_no_words_for_is_not_sent(
    said: Any, params: dict[str, Any], named: str
) -> None:
    """It ends as invalid before anything is sent, and says which field, and what to do."""
    reason, remedy = refusal(said, **params)
    assert named in reason
    assert remedy


def test_native_params_are_left_as_they_are() -> None:
    """A recipe's prompt, and a chat in Anthropic's own words: the very same request is sent."""
    recipe = Request("a", "claude-x", "1", {"prompt": "x", "seed": 1, "messages": [HI]})
    assert in_anthropics_words(recipe) is recipe
    block = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    native = asks(
        {"role": "user", "content": [block, document]},
        {"role": "assistant", "content": "Well"},
        {"role": "system", "content": "Be brief."},
        system="Own", tools=[CARD], tool_choice={"type": "tool", "name": "card"}, top_k=5,
        thinking={"type": "adaptive"}, output_config={"effort": "max"}, stop_sequences=["."],
    )  # fmt: skip
    assert in_anthropics_words(native) is native
    said = in_anthropics_words(asks({"role": "system", "content": "x"}, HI, reasoning_effort="low"))
    assert in_anthropics_words(said) is said


def test_a_recipe_still_hears_what_it_cannot_set() -> None:
    """Beside a prompt OpenAI's word for a form is refused when the recipe is built."""
    provider = AnthropicProvider.from_config("a", {"api_key": "k"}, SystemClock())
    form = {"response_format": {"type": "text"}}
    with pytest.raises(RecipeError, match="response_schema"):
        provider.check("claude-x", {"prompt": "x", **form})
    provider.check("claude-x", {"messages": [HI], **form})
    with pytest.raises(RecipeError, match="temperature"):
        provider.check("claude-x", {"messages": [HI], "temperature": "hot"})


def test_a_picture_in_a_chat_counts_as_one() -> None:
    """Its base64 is no text: the load is that of a picture, and the most is unknown."""
    url = "data:image/png;base64," + "A" * 400_000
    said = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    request = measured(asks(said, max_completion_tokens=10))
    tokens = messages.load_of(request).tokens
    assert messages.IMAGE_TOKENS < tokens < messages.IMAGE_TOKENS + 50
    assert messages.most_of(request) is None


def test_the_most_of_a_chat_is_known() -> None:
    """Its output has OpenAI's word for the most tokens, or our default."""
    most = messages.most_of(measured(asks(HI, max_completion_tokens=10)))
    assert most is not None
    assert most.output_tokens == 10
    assert messages.load_of(measured(asks(HI, seed=1))).tokens > messages.MAX_TOKENS_DEFAULT


def test_a_batch_line_is_the_chat_in_anthropics_words() -> None:
    """What goes through the batch API is what a call would send."""
    provider = AnthropicProvider.from_config("a", {"api_key": "k"}, SystemClock())
    assert provider.batches is not None
    chat = asks({"role": "system", "content": "x"}, HI, max_completion_tokens=5)
    assert json.loads(provider.batches.body(chat)) == {
        "model": "claude-x", "max_tokens": 5, "messages": [HI], "system": "x",
    }  # fmt: skip


def test_usage_counts_what_came_from_the_cache() -> None:
    """As OpenAI tells it: all that went in, and how much of it was read and written."""
    usage = {
        "input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 5,
        "output_tokens": 20, "thinking_tokens": 7,
    }  # fmt: skip
    assert tokens_of({"usage": usage}) == {
        "prompt_tokens": 115,
        "completion_tokens": 20,
        "total_tokens": 135,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    theirs = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4}
    told = tokens_of({"usage": {**theirs, "cache_read_input_tokens": 4}})
    assert told is not None
    assert (told["prompt_tokens"], told["prompt_tokens_details"]["cached_tokens"]) == (10, 4)


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "role", "url", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = ["text", "input_text", "refusal", "image_url", "image", "file", "tool_use"]
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON},
    optional={
        "text": JSON,
        "refusal": JSON,
        "image_url": JSON
        | st.fixed_dictionaries({"url": JSON | st.just("data:image/png;base64,")}),
    },
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | JSON,
        "content": ANY_TEXT | st.lists(PART, max_size=3) | JSON,
    },
    optional={"name": JSON, "tool_calls": JSON, "refusal": JSON},
)
FIELDS = sorted(
    {*OURS, "max_tokens", "output_config", "service_tier", "system", "temperature", "thinking"}
    | {"tool_choice", "tools"}
)
FORM = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "json_schema", "json_object", "function", "custom"]) | JSON},
    optional={"json_schema": JSON | st.fixed_dictionaries({"schema": JSON}), "function": JSON},
)
CHATS = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE | JSON, max_size=4)},
    optional={name: JSON | FORM | st.lists(FORM, max_size=2) for name in FIELDS},
)


@given(params=CHATS)
def test_any_chat_is_sent_or_clearly_refused(params: dict[str, Any]) -> None:
    """Whatever a chat holds: a body in Anthropic's words alone, or invalid with a remedy."""
    request = Request("a", "claude-x", "1", params)
    messages.load_of(measured(request))
    messages.most_of(measured(request))
    try:
        told = json.loads(messages.body_of(in_anthropics_words(request)))
    except CallFailed as failure:
        outcome = failure.outcome
    else:
        assert not OURS & told.keys()
        assert told["messages"]
        return
    assert outcome.kind is OutcomeKind.INVALID
    assert outcome.remedy
