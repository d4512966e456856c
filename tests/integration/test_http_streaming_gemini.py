"""Texts of Google's models told while they are bought, to the official client of another API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from headrace.testing import ManualClock
from tests.integration.test_http import Served, served
from tests.integration.test_http_streaming import (
    BOOKED,
    PRICE,
    SAID,
    Reading,
    ended,
    rows,
    slow,
    step,
    until,
    until_over,
    whole,
)

MODEL = "sim:gemini-x"
PIECES = 11
"""Of a simulated answer: ten times four words, and why it ends."""
TABLE: dict[str, Any] = {
    "kind": "gemini",
    "models": ["gemini-x"],
    "prices": {"gemini-x": {"input_usd_per_million": 1000.0, "output_usd_per_million": 2000.0}},
    "price_microcredits": PRICE,
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def api(database_url: str, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path, clock=clock, sim=TABLE) as one:
        slow(one)
        yield one


@pytest.fixture
async def client(api: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as one:
        yield one


async def begun(clock: ManualClock, api: Served, client: openai.AsyncOpenAI) -> Reading:
    """A stream of which the first words are told, and the provider has not said the others."""
    reading = Reading(client, model=MODEL)
    await step(clock, 4)
    await until(lambda: bool(reading.text))
    assert api.simulator.lane.in_flight == 1
    assert not reading.finish
    return reading


async def test_the_first_words_come_before_the_provider_has_said_the_last(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """A stream is told as it is bought, with its usage, and is booked as one that came whole."""
    reading = await ended(clock, await begun(clock, api, client))
    assert reading.finish == "stop"
    fresh = {"Cache-Control": "no-cache"}
    same = await whole(clock, api, client, model=MODEL, extra_headers=fresh)
    assert len(api.simulator.truth.calls) == 2
    assert reading.text == same.choices[0].message.content
    assert reading.usage.model_dump() == same.usage.model_dump()
    assert reading.usage.completion_tokens == 40
    assert reading.usage.total_tokens == reading.usage.prompt_tokens + 40
    told, other = await rows(api, BOOKED)
    assert told == other
    assert told["state"] == "succeeded"
    assert told["cost_estimate_microusd"] > 0
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(post,{PRICE})"]


async def test_a_response_is_told_while_it_is_bought(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """A response is a chat in other words, also to these models."""
    events: list[Any] = []

    async def read() -> None:
        stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
        async for event in stream:
            events.append(event)

    task = asyncio.create_task(read())
    await step(clock, 4)
    await until(lambda: any(event.type == "response.output_text.delta" for event in events))
    assert api.simulator.lane.in_flight == 1
    await clock.advance(PIECES)
    await task
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == events[-1].response.output_text


async def test_who_hangs_up_midway_finds_it_in_the_cache(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The purchase goes on without its reader, and is served to the next one."""
    reading = await begun(clock, api, client)
    reading.task.cancel()
    await asyncio.gather(reading.task, return_exceptions=True)
    await clock.advance(PIECES)
    again = await whole(clock, api, client, model=MODEL)
    assert again.choices[0].message.content.startswith(reading.text)
    assert len(api.simulator.truth.calls) == 1


async def test_a_stream_that_breaks_off_is_an_error_and_no_charge(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Half a text is no success: the client raises, nothing is kept, charged or bought again."""
    slow(api, faults=[{"kind": "reset_midway", "until_s": 1.0}])
    reading = await begun(clock, api, client)
    await clock.advance(PIECES)
    with pytest.raises(openai.APIError) as caught:
        await reading.task
    assert caught.value.code == "lost_result"
    assert not reading.finish
    await until_over(api)
    (told,) = await rows(api, BOOKED)
    assert (told["state"], told["outcome"], told["item"]) == ("unknown", "lost_result", "failed")
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(void,{PRICE})"]
    assert len(api.simulator.truth.calls) == 1
    assert (await whole(clock, api, client, model=MODEL)).choices[0].finish_reason == "stop"


async def test_what_fails_before_its_first_word_is_tried_again(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The caller sees one stream, of the attempt that succeeded."""
    slow(api, faults=[{"kind": "503", "until_s": 1.0}])
    reading = Reading(client, model=MODEL)
    await step(clock, PIECES + 3)
    await step(clock, 4)
    await until(lambda: bool(reading.text))
    assert (await ended(clock, reading)).finish == "stop"
    assert [row["state"] for row in await rows(api, BOOKED)] == ["failed", "succeeded"]


async def test_a_prompt_that_is_blocked_is_a_bad_request(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Google blocks it in the stream, before a first word: it has its own status."""
    slow(api, refuse_word="casino")
    reading = Reading(client, model=MODEL, messages=[{"role": "user", "content": "a casino"}])
    await step(clock, PIECES + 3)
    with pytest.raises(openai.BadRequestError) as caught:
        await reading.task
    assert caught.value.code == "content_policy_violation"
    assert not reading.chunks


async def test_what_cannot_be_said_to_these_models_is_a_bad_request(
    client: openai.AsyncOpenAI,
) -> None:
    """Nothing is sent, and nothing begins to be told."""
    said: Any = [*SAID, {"role": "tool", "content": "42", "tool_call_id": "x"}]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=said, stream=True)
    assert "tool" in caught.value.message
