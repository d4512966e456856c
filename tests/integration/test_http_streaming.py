"""Texts told while they are bought: official client, real engine, a simulator stepped by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest

from headrace.http.demand import DeadlineError
from headrace.http.streams import live_chat
from headrace.http.telling import Telling
from headrace.live_text import Listener, LiveText
from headrace.openai_answers import chat_json
from headrace.simulator.shapes import openai as openai_shape
from headrace.testing import ManualClock
from headrace.tool_calls import Said
from tests.integration.hearing import (
    BOOKED,
    PRICE,
    SECONDS,
    Reading,
    api,
    client,
    clock,
    ended,
    rows,
    slow,
    step,
    until,
    until_over,
)
from tests.integration.test_http import Served, served

__all__ = ["api", "client", "clock"]
MODEL = "sim:gpt-4o-mini"
FORBIDDEN = "Once upon a time there was a mill by the river. " * 3 + "sex with a child"
TABLE: dict[str, Any] = {
    "models": ["gpt-4o-mini"],
    "prices": {"gpt-4o-mini": {"input_usd_per_million": 1000.0, "output_usd_per_million": 2000.0}},
    "price_microcredits": PRICE,
}


@pytest.fixture
def table() -> dict[str, Any]:
    return TABLE


def reads(client: openai.AsyncOpenAI, **more: Any) -> Reading:
    return Reading(client, MODEL, **more)


async def begun(
    clock: ManualClock, api: Served, client: openai.AsyncOpenAI, **more: Any
) -> Reading:
    """A stream of which the first words are told, and the provider has not said the others."""
    reading = reads(client, **more)
    await step(clock, 3)
    await until(lambda: bool(reading.text))
    assert api.simulator.lane.in_flight == 1
    assert not reading.finish
    return reading


async def test_the_same_streams_share_one_call(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Who joins later hears what was said already, and the rest as it comes."""
    first = await begun(clock, api, client)
    second = reads(client)
    await until(lambda: bool(second.text))
    assert api.simulator.lane.in_flight == 1
    await clock.advance(SECONDS)
    await asyncio.gather(first.task, second.task)
    assert first.text == second.text
    assert first.usage == second.usage
    assert len(api.simulator.truth.calls) == 1


async def test_all_who_heard_a_part_are_told_that_it_broke_off(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """A follower who has heard words of a broken answer is not charged for another one."""
    slow(api, faults=[{"kind": "reset_midway", "until_s": 1.0}])
    first = await begun(clock, api, client)
    second = reads(client)
    await until(lambda: bool(second.text))
    await clock.advance(SECONDS)
    ends = await asyncio.gather(first.task, second.task, return_exceptions=True)
    assert all(isinstance(one, openai.APIError) for one in ends)
    await until_over(api)
    items = await rows(api, "SELECT state, (SELECT count(*) FROM cache_entry) AS kept FROM item")
    assert [row["state"] for row in items] == ["failed", "failed"]
    assert len(api.simulator.truth.calls) == 1


async def test_with_the_cache_off_each_stream_tells_its_own(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Two who will not share are bought and told apart."""
    headers = {"Cache-Control": "no-store"}
    readings = [reads(client, extra_headers=headers) for _ in range(2)]
    await until(lambda: api.simulator.lane.in_flight == 2)
    await until(lambda: clock.sleepers == 2)
    await clock.advance(3)
    await until(lambda: all(one.text for one in readings))
    await clock.advance(SECONDS)
    await asyncio.gather(*(one.task for one in readings))
    assert readings[0].text == readings[1].text
    assert len(api.simulator.truth.calls) == 2


async def test_a_deadline_midway_stands_in_the_stream() -> None:
    """Its status is out, so the error is told as an event, and the stream has no end."""
    text, listener = LiveText(), Listener()
    answering: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    telling = Telling("x", datetime.now(UTC), listener)
    telling.answering = answering  # type: ignore[assignment]
    listener.attach(text)
    text.say("half a")
    assert await telling.begins()
    begun = chat_json("x", "m", Said(""), {}, telling.at)
    events = live_chat(telling, begun, lambda answered: {}, True)
    assert b"half a" in await anext(events)
    answering.set_exception(DeadlineError("the deadline of 30 s is over", remedy="Ask again."))
    told = [json.loads(event.removeprefix(b"data: ")) async for event in events]
    assert [one["error"]["code"] for one in told] == ["deadline_exceeded"]
    assert not text.is_wanted


async def test_a_stream_under_a_key_is_told_again_as_it_was(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The same key is the same answer under the same id, bought once, whether streamed or not."""
    headers = {"Idempotency-Key": "k", "Cache-Control": "no-store"}
    first = await ended(clock, await begun(clock, api, client, extra_headers=headers))
    again = reads(client, extra_headers=headers)
    await again.task
    assert again.text == first.text
    assert again.chunks[0].id == first.chunks[0].id
    assert again.chunks[0].created == first.chunks[0].created
    assert len(api.simulator.truth.calls) == 1


async def test_what_is_judged_before_it_is_handed_out_is_told_when_it_is_whole(
    database_url: str, tmp_path: Path, clock: ManualClock
) -> None:
    """No word of a text that the policy withholds is told, nor of one that it has yet to see."""
    rules = {"rules": [{"name": "w", "words": ["mill"], "on": "artifact"}]}
    async with (
        served(database_url, tmp_path, clock=clock, policy=rules, sim=TABLE) as api,
        api.client() as client,
    ):
        slow(api)
        reading = reads(client)
        await step(clock, SECONDS - 1)
        assert not reading.chunks
        await clock.advance(1)
        with pytest.raises(openai.BadRequestError) as caught:
            await reading.task
        assert caught.value.code == "content_policy_violation"
        assert not reading.chunks


async def test_no_beginning_is_told_that_the_built_in_rule_forbids(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text is judged while it grows: what comes before the finding is told, then an error."""
    monkeypatch.setattr(openai_shape, "text", lambda prompt, tokens: FORBIDDEN)
    slow(api)
    reading = await begun(clock, api, client)
    await clock.advance(SECONDS + FORBIDDEN.count(" "))
    with pytest.raises(openai.APIError) as caught:
        await reading.task
    assert caught.value.code == "content_policy_violation"
    assert FORBIDDEN.startswith(reading.text)
    assert "child" not in reading.text
    await until_over(api)
    (told,) = await rows(api, BOOKED)
    assert told["item"] == "refused"
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(void,{PRICE})"]
