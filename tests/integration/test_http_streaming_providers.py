"""Texts of each provider told while they are bought, to the official client of one API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from headrace.testing import ManualClock
from tests.integration.hearing import (
    BOOKED,
    FRESH,
    PRICE,
    SECONDS,
    Reading,
    Responding,
    api,
    client,
    clock,
    ended,
    rows,
    slow,
    step,
    until,
    until_over,
    whole,
)
from tests.integration.test_http import Served

__all__ = ["api", "client", "clock"]


@dataclass(frozen=True)
class Seller:
    """A provider of texts: after ``begins_s`` its first words are told, ``fault`` passes by."""

    kind: str
    name: str
    begins_s: float
    fault: str

    @property
    def model(self) -> str:
        return f"sim:{self.name}"


SELLERS = [
    Seller("openai", "gpt-4o-mini", 3, "500"),
    Seller("gemini", "gemini-x", 4, "503"),
    Seller("anthropic", "claude-x", 4, "529"),
]


@pytest.fixture(params=SELLERS, ids=[one.kind for one in SELLERS])
def seller(request: pytest.FixtureRequest) -> Seller:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def table(seller: Seller) -> dict[str, Any]:
    prices = {"input_usd_per_million": 1000.0, "output_usd_per_million": 2000.0}
    return {
        "kind": seller.kind,
        "models": [seller.name],
        "prices": {seller.name: prices},
        "price_microcredits": PRICE,
    }


async def begun(
    clock: ManualClock, api: Served, client: openai.AsyncOpenAI, seller: Seller
) -> Reading:
    """A stream of which the first words are told, and the provider has not said the others."""
    reading = Reading(client, seller.model)
    await step(clock, seller.begins_s)
    await until(lambda: bool(reading.text))
    assert api.simulator.lane.in_flight == 1
    assert not reading.finish
    return reading


async def test_the_first_words_come_before_the_provider_has_said_the_last(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, seller: Seller
) -> None:
    """A stream is told as it is bought, with its usage, and is booked as one that came whole."""
    reading = await ended(clock, await begun(clock, api, client, seller))
    assert reading.finish == "stop"
    assert len({chunk.id for chunk in reading.chunks}) == 1
    same = await whole(clock, client, seller.model, extra_headers=FRESH)
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
    again = Reading(client, seller.model)
    await again.task
    assert again.text == reading.text
    assert len(api.simulator.truth.calls) == 2


async def test_a_response_is_told_while_it_is_bought(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, seller: Seller
) -> None:
    """The events of a response come in their order, numbered, the first words before the last."""
    responding = Responding(client, seller.model)
    await step(clock, seller.begins_s)
    await until(lambda: bool(responding.text))
    assert api.simulator.lane.in_flight == 1
    await clock.advance(SECONDS)
    await responding.task
    events = responding.events
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert responding.text == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens == 40
    assert events[0].response.id == events[-1].response.id


async def test_who_hangs_up_midway_finds_it_in_the_cache(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, seller: Seller
) -> None:
    """The purchase goes on without its reader, and is served to the next one."""
    reading = await begun(clock, api, client, seller)
    reading.task.cancel()
    await asyncio.gather(reading.task, return_exceptions=True)
    await clock.advance(SECONDS)
    again = await whole(clock, client, seller.model)
    assert again.choices[0].message.content.startswith(reading.text)
    assert len(api.simulator.truth.calls) == 1


async def test_a_stream_that_breaks_off_is_an_error_and_no_charge(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, seller: Seller
) -> None:
    """Half a text is no success: the client raises, nothing is kept, charged or bought again."""
    slow(api, faults=[{"kind": "reset_midway", "until_s": 1.0}])
    reading = await begun(clock, api, client, seller)
    await clock.advance(SECONDS)
    with pytest.raises(openai.APIError) as caught:
        await reading.task
    assert caught.value.code == "lost_result"
    assert not reading.finish
    await until_over(api)
    (told,) = await rows(api, BOOKED)
    assert (told["state"], told["outcome"], told["item"]) == ("unknown", "lost_result", "failed")
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(void,{PRICE})"]
    assert len(api.simulator.truth.calls) == 1
    assert (await whole(clock, client, seller.model)).choices[0].finish_reason == "stop"
    assert len(api.simulator.truth.calls) == 2


async def test_what_fails_before_its_first_word_is_tried_again(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, seller: Seller
) -> None:
    """The caller sees one stream, of the attempt that succeeded."""
    slow(api, faults=[{"kind": seller.fault, "until_s": 1.0}])
    reading = Reading(client, seller.model)
    await step(clock, SECONDS)
    await step(clock, seller.begins_s)
    await until(lambda: bool(reading.text))
    assert (await ended(clock, reading)).finish == "stop"
    assert [row["state"] for row in await rows(api, BOOKED)] == ["failed", "succeeded"]


async def test_an_error_before_the_first_word_has_its_own_status(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, seller: Seller
) -> None:
    """What is refused, at once or in a stream that says no word, is a bad request."""
    slow(api, refuse_word="casino")
    said = [{"role": "user", "content": "a casino"}]
    reading = Reading(client, seller.model, messages=said)
    await step(clock, SECONDS)
    with pytest.raises(openai.BadRequestError) as caught:
        await reading.task
    assert caught.value.code == "content_policy_violation"
    assert not reading.chunks
