"""Answers heard while they are bought: official client, real engine, a simulator stepped by hand.

A test module takes ``clock``, ``api`` and ``client`` from here and says what it sells in a
fixture of its own, ``table``: the keys of the simulated provider, ``price_microcredits`` as
``PRICE`` where a test looks at what is booked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from headrace.simulator.scenario import build_settings
from headrace.testing import ManualClock
from tests.integration.test_http import Served, served

SECONDS = 14
"""A simulated answer takes so long, its pieces the same time each."""
PRICE = 5_000
FRESH = {"Cache-Control": "no-cache"}
SAID: Any = [{"role": "user", "content": "Hi"}]
BOOKED = """
SELECT a.state, a.outcome, a.cost_microusd, a.cost_estimate_microusd,
    (a.facts::jsonb - 'origin')::text AS facts, i.state AS item,
    (SELECT array_agg((kind, amount_microcredits)::text ORDER BY id) FROM transfer t
     WHERE t.batch_id = a.batch_id AND t.kind <> 'grant') AS transfers
FROM attempt a JOIN item i ON i.batch_id = a.batch_id AND i.idx = a.idx
ORDER BY a.started_at, a.number
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def api(
    database_url: str, tmp_path: Path, clock: ManualClock, table: dict[str, Any]
) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path, clock=clock, sim=table) as one:
        slow(one)
        yield one


@pytest.fixture
async def client(api: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as one:
        yield one


def slow(api: Served, **settings: Any) -> None:
    """Let a simulated answer take its time on the hand-held clock."""
    api.simulator.reset(build_settings({"latency": {"median_s": float(SECONDS)}, **settings}))


async def until(true: Callable[[], bool]) -> None:
    """Go on when something holds, which it will without time going by."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


async def step(clock: ManualClock, seconds: float) -> None:
    """Let the provider go on for so long, once it has the call."""
    await until(lambda: bool(clock.sleepers))
    await clock.advance(seconds)


class Reading:
    """A stream that is read by a task: the chunks so far, and how it ended."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, **more: Any) -> None:
        self.chunks: list[Any] = []
        self.usage: Any = None
        self.task = asyncio.create_task(self._read(client, {"model": model, **more}))

    async def _read(self, client: openai.AsyncOpenAI, more: dict[str, Any]) -> None:
        told: dict[str, Any] = {"messages": SAID, **more}
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


class Responding:
    """A response that is read by a task: its events so far."""

    def __init__(self, client: openai.AsyncOpenAI, model: str) -> None:
        self.events: list[Any] = []
        self.task = asyncio.create_task(self._read(client, model))

    async def _read(self, client: openai.AsyncOpenAI, model: str) -> None:
        async for event in await client.responses.create(model=model, input="Hi", stream=True):
            self.events.append(event)

    @property
    def text(self) -> str:
        deltas = (one for one in self.events if one.type == "response.output_text.delta")
        return "".join(one.delta for one in deltas)


async def ended(clock: ManualClock, reading: Reading) -> Reading:
    """The stream at its end."""
    await clock.advance(SECONDS)
    async with asyncio.timeout(60):
        await reading.task
    return reading


async def whole(clock: ManualClock, client: openai.AsyncOpenAI, model: str, **more: Any) -> Any:
    """A chat that is not streamed."""
    told: dict[str, Any] = {"model": model, "messages": SAID, **more}
    return await bought(clock, client.chat.completions.create(**told))


async def bought(clock: ManualClock, asked: Any) -> Any:
    """What is asked for, once the provider has taken its time."""
    asking = asyncio.ensure_future(asked)
    await until(lambda: bool(clock.sleepers) or asking.done())
    await clock.advance(SECONDS)
    async with asyncio.timeout(60):
        return await asking


async def rows(api: Served, sql: str) -> list[dict[str, Any]]:
    async with api.engine.database.acquire() as connection:
        return [dict(row) for row in await connection.fetch(sql)]


async def until_over(api: Served) -> None:
    """Wait for the end of all batches."""
    for summary in await api.engine.recent():
        await api.engine.batch(summary.id).done()
