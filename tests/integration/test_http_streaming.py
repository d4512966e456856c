"""Texts told while they are bought: official client, real engine, a simulator stepped by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
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
from headrace.simulator.scenario import build_settings
from headrace.simulator.shapes import openai as openai_shape
from headrace.testing import ManualClock
from headrace.tool_calls import Said
from tests.integration.test_http import Served, served

MODEL = "sim:gpt-4o-mini"
SAID: Any = [{"role": "user", "content": "Hi"}]
PIECES = 14
"""Of a simulated answer: a role, ten times four words, why it ends, usage, the end."""
PRICE = 5_000
FORBIDDEN = "Once upon a time there was a mill by the river. " * 3 + "sex with a child"
TABLE: dict[str, Any] = {
    "models": ["gpt-4o-mini"],
    "prices": {"gpt-4o-mini": {"input_usd_per_million": 1000.0, "output_usd_per_million": 2000.0}},
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def api(database_url: str, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Served]:
    table = {**TABLE, "price_microcredits": PRICE}
    async with served(database_url, tmp_path, clock=clock, sim=table) as one:
        slow(one)
        yield one


@pytest.fixture
async def client(api: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as one:
        yield one


def slow(api: Served, **settings: Any) -> None:
    """Let each piece of a simulated answer take a second of the hand-held clock."""
    api.simulator.reset(build_settings({"latency": {"median_s": float(PIECES)}, **settings}))


async def until(true: Callable[[], bool]) -> None:
    """Go on when something holds, which it will without time going by."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


class Reading:
    """A stream that is read by a task: the chunks so far, and how it ended."""

    def __init__(self, client: openai.AsyncOpenAI, **more: Any) -> None:
        self.chunks: list[Any] = []
        self.usage: Any = None
        self.task = asyncio.create_task(self._read(client, more))

    async def _read(self, client: openai.AsyncOpenAI, more: dict[str, Any]) -> None:
        told: dict[str, Any] = {"model": MODEL, "messages": SAID, **more}
        options: Any = {"include_usage": True}
        stream = await client.chat.completions.create(stream=True, stream_options=options, **told)
        async for chunk in stream:
            self.usage = chunk.usage or self.usage
            self.chunks.append(chunk)

    @property
    def text(self) -> str:
        return "".join(
            choice.delta.content or "" for chunk in self.chunks for choice in chunk.choices
        )

    @property
    def finish(self) -> str | None:
        return next(
            (c.finish_reason for one in self.chunks for c in one.choices if c.finish_reason), None
        )


async def step(clock: ManualClock, pieces: float) -> None:
    """Let the provider say so many pieces more, once it has the call."""
    await until(lambda: bool(clock.sleepers))
    await clock.advance(pieces)


async def begun(
    clock: ManualClock, api: Served, client: openai.AsyncOpenAI, **more: Any
) -> Reading:
    """A stream of which the first words are told, and the provider has not said the others."""
    reading = Reading(client, **more)
    await step(clock, 3)
    await until(lambda: bool(reading.text))
    assert api.simulator.lane.in_flight == 1
    assert not reading.finish
    return reading


async def ended(clock: ManualClock, reading: Reading) -> Reading:
    """The stream at its end."""
    await clock.advance(PIECES)
    async with asyncio.timeout(60):
        await reading.task
    return reading


async def whole(clock: ManualClock, api: Served, client: openai.AsyncOpenAI, **more: Any) -> Any:
    """A chat that is not streamed."""
    told: Any = {"model": MODEL, "messages": SAID, **more}
    asking = asyncio.create_task(client.chat.completions.create(**told))
    await until(lambda: bool(clock.sleepers) or asking.done())
    await clock.advance(PIECES)
    async with asyncio.timeout(60):
        return await asking


async def rows(api: Served, sql: str) -> list[dict[str, Any]]:
    async with api.engine.database.acquire() as connection:
        return [dict(row) for row in await connection.fetch(sql)]


BOOKED = """
SELECT a.state, a.outcome, a.cost_microusd, a.cost_estimate_microusd,
    (a.facts::jsonb - 'origin')::text AS facts, i.state AS item,
    (SELECT array_agg((kind, amount_microcredits)::text ORDER BY id) FROM transfer t
     WHERE t.batch_id = a.batch_id AND t.kind <> 'grant') AS transfers
FROM attempt a JOIN item i ON i.batch_id = a.batch_id AND i.idx = a.idx
ORDER BY a.started_at, a.number
"""


async def test_the_first_words_come_before_the_provider_has_said_the_last(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """A stream is told as it is bought, and is booked as an answer that came whole."""
    reading = await ended(clock, await begun(clock, api, client))
    assert reading.finish == "stop"
    assert len({chunk.id for chunk in reading.chunks}) == 1
    same = await whole(clock, api, client, extra_headers={"Cache-Control": "no-cache"})
    assert len(api.simulator.truth.calls) == 2
    assert reading.text == same.choices[0].message.content
    assert reading.usage.model_dump() == same.usage.model_dump()
    told, other = await rows(api, BOOKED)
    assert told == other
    assert told["state"] == "succeeded"
    assert told["cost_estimate_microusd"] > 0
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(post,{PRICE})"]
    again = Reading(client)
    await again.task
    assert again.text == reading.text
    assert len(api.simulator.truth.calls) == 2


async def test_a_response_is_told_while_it_is_bought(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The events of a response come in their order, numbered, the first words before the last."""
    events: list[Any] = []

    async def read() -> None:
        stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
        async for event in stream:
            events.append(event)

    task = asyncio.create_task(read())
    await step(clock, 3)
    await until(lambda: any(event.type == "response.output_text.delta" for event in events))
    assert api.simulator.lane.in_flight == 1
    await clock.advance(PIECES)
    await task
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == events[-1].response.output_text
    assert events[0].response.id == events[-1].response.id


async def test_who_hangs_up_midway_finds_it_in_the_cache(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The purchase goes on without its reader, and is served to the next one."""
    reading = await begun(clock, api, client)
    reading.task.cancel()
    await asyncio.gather(reading.task, return_exceptions=True)
    await clock.advance(PIECES)
    again = await whole(clock, api, client)
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
    assert (await whole(clock, api, client)).choices[0].finish_reason == "stop"
    assert len(api.simulator.truth.calls) == 2


async def until_over(api: Served) -> None:
    """Wait for the end of all batches."""
    for summary in await api.engine.recent():
        await api.engine.batch(summary.id).done()


async def test_what_fails_before_its_first_word_is_tried_again(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The caller sees one stream, of the attempt that succeeded."""
    slow(api, faults=[{"kind": "500", "until_s": 1.0}])
    reading = Reading(client)
    await step(clock, PIECES)
    await step(clock, 3)
    await until(lambda: bool(reading.text))
    assert (await ended(clock, reading)).finish == "stop"
    assert [row["state"] for row in await rows(api, BOOKED)] == ["failed", "succeeded"]


async def test_the_same_streams_share_one_call(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Who joins later hears what was said already, and the rest as it comes."""
    first = await begun(clock, api, client)
    second = Reading(client)
    await until(lambda: bool(second.text))
    assert api.simulator.lane.in_flight == 1
    await clock.advance(PIECES)
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
    second = Reading(client)
    await until(lambda: bool(second.text))
    await clock.advance(PIECES)
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
    readings = [Reading(client, extra_headers=headers) for _ in range(2)]
    await until(lambda: api.simulator.lane.in_flight == 2)
    await until(lambda: clock.sleepers == 2)
    await clock.advance(3)
    await until(lambda: all(one.text for one in readings))
    await clock.advance(PIECES)
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
    again = Reading(client, extra_headers=headers)
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
        reading = Reading(client)
        await step(clock, PIECES - 1)
        assert not reading.chunks
        await clock.advance(1)
        with pytest.raises(openai.BadRequestError) as caught:
            await reading.task
        assert caught.value.code == "content_policy_violation"
        assert not reading.chunks


async def test_an_error_before_the_first_word_has_its_own_status(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """What is refused at once is a bad request, not a stream with an error in it."""
    slow(api, refuse_word="casino")
    reading = Reading(client, messages=[{"role": "user", "content": "a casino"}])
    await step(clock, PIECES)
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
    await clock.advance(PIECES + FORBIDDEN.count(" "))
    with pytest.raises(openai.APIError) as caught:
        await reading.task
    assert caught.value.code == "content_policy_violation"
    assert FORBIDDEN.startswith(reading.text)
    assert "child" not in reading.text
    await until_over(api)
    (told,) = await rows(api, BOOKED)
    assert told["item"] == "refused"
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(void,{PRICE})"]
