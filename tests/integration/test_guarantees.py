"""Promises of docs/guarantees.md that no other test shows."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from headrace.clock import SystemClock
from headrace.engine import Engine
from headrace.errors import ConflictError
from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import balance, engine_on, one, recipe, rows, submit

CREDIT = 1_000_000
STEPS_S = (0, 3600, -3600, 86_400, -86_400)


class SteppingClock(SystemClock):
    """A machine whose wall clock steps by hours and days, forth and back, at every look."""

    def __init__(self) -> None:
        self._steps = itertools.cycle(STEPS_S)

    def now(self) -> datetime:
        """Return a time that may be a day off."""
        return super().now() + timedelta(seconds=next(self._steps))


async def keyed(engine: Engine, digest: bytes) -> Batch:
    """Submit under the one key of these tests."""
    terms = Terms(idempotency_key="k")
    return await engine.submit(rows(5), recipe(), columns=["t"], terms=terms, digest=digest)


async def test_a_key_is_the_same_batch_after_a_restart(database_url: str, tmp_path: Path) -> None:
    """Twenty submits at once of a process that comes later find the batch of the one before."""
    async with engine_on(database_url, tmp_path, Scripted(), work=False) as engine:
        first = await keyed(engine, b"a")
    provider = Scripted()
    async with engine_on(database_url, tmp_path, provider) as engine:
        found = await asyncio.gather(*(keyed(engine, b"a") for _ in range(20)))
        assert {batch.id for batch in found} == {first.id}
        assert not any(batch.is_new for batch in found)
        with pytest.raises(ConflictError):
            await keyed(engine, b"b")
        await found[0].done()
        assert len(provider.prompts) == await one(engine, "SELECT count(*) FROM item") == 5


async def test_steps_of_the_wall_clock_change_no_result(database_url: str, tmp_path: Path) -> None:
    """While the time of day jumps by a day at each look, an item ends once and is charged once."""
    provider = Scripted()
    clock = SteppingClock()
    async with engine_on(database_url, tmp_path, provider, clock=clock) as engine:
        batch = await submit(engine, rows(60), canary=0)
        summary = await asyncio.wait_for(batch.done(), 60)
        assert (summary.succeeded, summary.repeats) == (60, 0)
        assert len(provider.prompts) == 60
        assert await balance(engine, "revenue") == 60 * CREDIT
        assert await balance(engine, "held") == 0
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []


async def test_ends_that_race_refund_once(database_url: str, tmp_path: Path) -> None:
    """Settles, refusals, two cancels and a retry at once: an item has one end and one refund."""
    bad = {f"row {number}" for number in range(0, 40, 3)}
    for number in range(8):
        provider = Scripted(
            lambda prompt, nth: OutcomeKind.REFUSED if prompt.split("/")[-1] in bad else None
        )
        async with engine_on(database_url, tmp_path / str(number), provider) as engine:
            provider.gate.clear()
            batch = await submit(
                engine, [{"t": f"{number}/row {row}"} for row in range(40)], canary=0
            )
            await provider.entered.wait()

            async def answers(provider: Scripted = provider) -> None:
                provider.gate.set()

            moves = (batch.cancel(), answers(), batch.retry({ItemState.REFUSED}), batch.cancel())
            done = await asyncio.gather(*moves, return_exceptions=True)
            assert [one for one in done if isinstance(one, Exception) and not _is_told(one)] == []
            summary = await asyncio.wait_for(batch.done(), 60)
            assert summary.done == 40
            assert summary.spent_microcredits == summary.succeeded * CREDIT
            assert await balance(engine, "held") == 0
            async with engine.database.acquire() as connection:
                assert await verify(connection) == []


def _is_told(error: BaseException) -> bool:
    """Whether a move was refused because another one was there before."""
    return isinstance(error, ConflictError)
