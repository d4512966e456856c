"""Chats and responses of OpenAI's official client, answered by Anthropic's messages API."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from headrace.simulator.scenario import build_settings
from headrace.testing import ManualClock
from tests.integration.hearing import (
    BOOKED,
    FRESH,
    PRICE,
    SAID,
    SECONDS,
    Reading,
    api,
    client,
    clock,
    ended,
    rows,
    step,
    whole,
)
from tests.integration.test_http import Served

__all__ = ["api", "client", "clock"]
MODEL = "sim:claude-x"
TABLE: dict[str, Any] = {
    "kind": "anthropic",
    "models": ["claude-x"],
    "prices": {
        "claude-x": {
            "input_usd_per_million": 1000.0, "output_usd_per_million": 2000.0,
            "cached_input_usd_per_million": 100.0, "cache_write_usd_per_million": 1250.0,
        }
    },
    "price_microcredits": PRICE,
}  # fmt: skip
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
PICTURE: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


@pytest.fixture
def table() -> dict[str, Any]:
    return TABLE


@pytest.fixture
def quick(api: Served) -> None:
    """Let simulated answers take no time."""
    api.simulator.reset(build_settings({"latency": {"median_s": 0.0}}))


@pytest.mark.usefixtures("quick")
async def test_an_ordinary_chat_is_answered(client: openai.AsyncOpenAI) -> None:
    """System, picture, history and the usual fields: nothing that the API would refuse is sent."""
    chat = await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE]},
            {"role": "assistant", "content": "A dot."},
            {"role": "user", "content": "Sure?"},
        ],
        temperature=0.2, top_p=0.9, n=1, user="me", store=False, metadata={"a": "b"},
        logprobs=False, frequency_penalty=0, presence_penalty=0, reasoning_effort="low",
        max_completion_tokens=500, parallel_tool_calls=True, service_tier="auto",
    )  # fmt: skip
    (choice,) = chat.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content is not None
    assert choice.message.content.startswith("Simulated answer to “Be brief.\nHi\nWhat is it?")
    assert chat.usage is not None
    assert chat.usage.prompt_tokens > 1600
    assert chat.usage.completion_tokens == 40
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + 40


@pytest.mark.usefixtures("quick")
async def test_why_an_answer_ends_is_told(client: openai.AsyncOpenAI) -> None:
    """The most tokens are ``length``, a stop sequence is ``stop`` and ends the text before it."""
    ask = client.chat.completions.create
    short = await ask(model=MODEL, messages=SAID, max_tokens=5)
    assert short.choices[0].finish_reason == "length"
    stopped = await ask(model=MODEL, messages=SAID, stop="answer")
    assert (stopped.choices[0].finish_reason, stopped.choices[0].message.content) == (
        "stop", "Simulated ",
    )  # fmt: skip
    cut = await client.responses.create(model=MODEL, input="Hi", max_output_tokens=5)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


@pytest.mark.usefixtures("quick")
async def test_a_response_takes_a_picture(api: Served, client: openai.AsyncOpenAI) -> None:
    """It goes in as a chat's does; what it takes is counted as a picture."""
    image = {"type": "input_image", "image_url": PICTURE["image_url"]["url"], "detail": "auto"}
    said: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What?"}, image]}]
    told = await client.responses.create(model=MODEL, input=said, instructions="Be brief.")
    assert told.output_text.startswith("Simulated answer to “Be brief.\nWhat?”")
    assert told.usage is not None
    assert 1600 < told.usage.input_tokens < 1700
    assert len(api.simulator.truth.calls) == 1


@pytest.mark.usefixtures("quick")
async def test_a_schema_gives_json(client: openai.AsyncOpenAI) -> None:
    """A chat and a response ask for it each in its own way."""
    form = {"name": "card", "schema": SCHEMA, "strict": True}
    asked: Any = {"type": "json_schema", "json_schema": form}
    chat = await client.chat.completions.create(model=MODEL, messages=SAID, response_format=asked)
    assert json.loads(chat.choices[0].message.content or "").keys() == {"title"}
    text: Any = {"format": {"type": "json_schema", **form}}
    told = await client.responses.create(
        model=MODEL, instructions="Be brief.", input="Hi", text=text, reasoning={"effort": "none"}
    )
    assert json.loads(told.output_text).keys() == {"title"}


@pytest.mark.usefixtures("quick")
async def test_cached_tokens_are_told(api: Served, client: openai.AsyncOpenAI) -> None:
    """All that went in is counted, and how much of it was written to a cache, or read."""
    more: Any = {"extra_body": {"cache_control": {"type": "ephemeral"}}, "extra_headers": FRESH}
    ask = client.chat.completions.create
    first = await ask(model=MODEL, messages=SAID, **more)
    second = await ask(model=MODEL, messages=SAID, **more)
    third = await client.responses.create(model=MODEL, input="Hi", **more)
    told = []
    for chat in (first, second):
        assert chat.usage is not None
        assert chat.usage.prompt_tokens_details is not None
        details = chat.usage.prompt_tokens_details
        told.append((chat.usage.prompt_tokens, details.cached_tokens, details.cache_write_tokens))
    assert told == [(1, 0, 1), (1, 1, 0)]
    assert third.usage is not None
    assert third.usage.input_tokens_details.cached_tokens == third.usage.input_tokens == 1
    costs = [row["cost_estimate_microusd"] for row in await rows(api, BOOKED)]
    assert costs == [80 * 1000 + 1250, 80 * 1000 + 100, 80 * 1000 + 100]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("seed", {"seed": 7}),
        ("logprobs", {"logprobs": True}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("function_call", {"function_call": {"name": "f"}}),
        ("tool", {"messages": [*SAID, {"role": "tool", "content": "42", "tool_call_id": "x"}]}),
        ("temperature", {"temperature": 1.5}),
    ],
)
async def test_what_cannot_be_said_is_a_bad_request(
    client: openai.AsyncOpenAI, field: str, more: dict[str, Any]
) -> None:
    """It names the field; nothing begins to be told."""
    for stream in (False, True):
        asked: Any = {"model": MODEL, "messages": SAID, "stream": stream, **more}
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**asked)
        assert field in caught.value.message


async def test_a_stream_tells_cached_tokens_and_its_cut(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The usage at a stream's end counts what came from the cache; ``length`` is told."""
    more: Any = {"extra_body": {"cache_control": {"type": "ephemeral"}}, "extra_headers": FRESH}
    await whole(clock, client, MODEL, max_tokens=5, **more)
    reading = Reading(client, MODEL, max_tokens=5, **more)
    await step(clock, SECONDS)
    await ended(clock, reading)
    assert reading.finish == "length"
    assert reading.usage.prompt_tokens == reading.usage.prompt_tokens_details.cached_tokens == 1
