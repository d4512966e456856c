"""Waits of hours on a real PostgreSQL: what renews by itself is waited for, by a canary as well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from headrace.clock import SystemClock
from headrace.config import Config, Retry, Worker
from headrace.engine import Engine, open_engine
from headrace.event import EventKind
from headrace.limits import Dimension, Limit, Quota
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.pause import PauseCode
from headrace.provider import Call, Reply
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import results, rows, submit
from tests.integration.test_guards import audited, until

HOUR_S, DAY_S = 3600.0, 86_400.0
LIMITED = Outcome(OutcomeKind.RATE_LIMITED, "come back in an hour", wait_s=HOUR_S)
DAY_USED = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "the day is used up", wait_s=HOUR_S)
NO_FUNDS = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "no credit left")


class Leaping(SystemClock):
    """The machine's clock, which a test sets ahead."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class Turns(Scripted):
    """Ends calls as ``says`` tells while it does, one call at a time.

    Its lane keeps to ``limits``, and without any learns none: it would take a refusal of an
    hour for the window of a rate.
    """

    says: Outcome | None = None

    def __init__(self, *limits: Limit) -> None:
        super().__init__()
        self.quota = Quota(1, limits, pinned=True, learns=bool(limits))

    async def call(self, call: Call) -> Reply:
        if self.says is not None:
            self.prompts.append(call.request.params["prompt"])
            raise CallFailed(self.says)
        return await super().call(call)


def refusing(says: Outcome) -> Turns:
    """A provider that ends calls so, until it is told otherwise."""
    provider = Turns()
    provider.says = says
    return provider


RENEWING = pytest.mark.parametrize("says", [LIMITED, DAY_USED], ids=["rate", "quota"])
"""For what is over by itself at a named time."""


@pytest.fixture
def clock() -> Leaping:
    return Leaping()


@asynccontextmanager
async def engine_at(
    url: str, home: Path, provider: Scripted, clock: Leaping
) -> AsyncIterator[Engine]:
    # A gate of its own: one that is shared goes by the database's clock, which nobody sets ahead.
    config = Config(
        home=str(home),
        database_url=url,
        retry=Retry(attempts=3, base_s=0.0, cap_s=0.0),
        worker=Worker(gate="local"),
    )
    async with open_engine(config, providers={provider.name: provider}, clock=clock) as engine:
        yield engine


async def waiting(batch: Batch, items: int) -> None:
    """Wait until so many items wait and none is under way."""
    async with asyncio.timeout(60):
        while True:
            now = await batch.summary()
            if (now.waiting, now.running) == (items, 0):
                return
            await batch.changed(0.02)


async def was_paused(batch: Batch) -> bool:
    events = [event async for event in batch.events()]
    return any(event.data.get("state") == "paused" for event in events)


@RENEWING
async def test_a_canary_waits_for_what_renews_and_then_goes_on(
    database_url: str, tmp_path: Path, clock: Leaping, says: Outcome
) -> None:
    """A lane that was told to wait an hour parks the canary, not the batch; then all are made."""
    provider = refusing(says)
    async with engine_at(database_url, tmp_path, provider, clock) as engine:
        before = await submit(engine, rows(1, "before"))
        await waiting(before, 1)
        batch = await submit(engine, rows(60), canary=3)
        await waiting(batch, 3)
        await engine._guard.tick()
        now = await batch.summary()
        assert (now.state, now.pause, now.pending) == ("canary", None, 57)
        assert provider.prompts == ["before 0"]
        due = [wait.due_at for wait in await batch.waits()]
        left_s = [(at - clock.now()).total_seconds() for at in due]
        assert all(HOUR_S - 60 < left < HOUR_S + 1 for left in left_s)
        provider.says, clock.ahead_s = None, HOUR_S + 1
        after = await batch.done()
        assert (after.state, after.succeeded) == ("completed", 60)
        assert (await before.done()).succeeded == 1
        assert len(provider.prompts) == 62
        assert not await was_paused(batch)
        assert await audited(engine) == []


async def test_a_told_day_quota_is_waited_for_until_it_renews(
    database_url: str, tmp_path: Path, clock: Leaping
) -> None:
    """Two calls a day: the third row of the canary waits until then, and it is said until when."""
    provider = Turns(Limit(Dimension.REQUESTS, 2, DAY_S))
    async with engine_at(database_url, tmp_path, provider, clock) as engine:
        batch = await submit(engine, rows(6), canary=3)
        await waiting(batch, 1)
        await engine._guard.tick()
        assert (await batch.summary()).state == "canary"
        (wait,) = await batch.waits()
        day = f"{wait.due_at:%Y-%m-%d}"
        assert wait.code == "quota_exhausted"
        assert str(wait.reason).startswith(f"lane scripted is shut until {day} ")
        assert str(wait.reason).endswith("UTC: its 2 requests a day are used up")
        (error,) = [item.error for item in await results(batch) if item.error is not None]
        assert error["renews"] is True
        for day_number in (1, 2):
            clock.ahead_s = day_number * (DAY_S + 1)
            async with asyncio.timeout(60):
                while (await batch.summary()).succeeded < 2 * (day_number + 1):
                    await batch.changed(0.02)
        after = await batch.done()
        assert (after.state, after.succeeded, len(provider.prompts)) == ("completed", 6, 6)
        assert not await was_paused(batch)


async def test_what_only_a_person_can_mend_pauses_the_canary_still(
    database_url: str, tmp_path: Path, clock: Leaping
) -> None:
    """Funds that nobody says will come back stop the batch, though its lane has a time."""
    provider = refusing(NO_FUNDS)
    async with engine_at(database_url, tmp_path, provider, clock) as engine:
        batch = await submit(engine, rows(60), canary=3)
        now = await until(batch, "paused")
        assert now.pause is not None
        assert now.pause.code is PauseCode.QUOTA_EXHAUSTED
        assert "no credit left" in now.pause.reason
        errors = [item.error for item in await results(batch) if item.error is not None]
        assert len(errors) == 3
        assert not any("renews" in error for error in errors)


async def test_an_item_that_is_told_hours_again_and_again_does_not_fail(
    database_url: str, tmp_path: Path, clock: Leaping
) -> None:
    """With three tries in all, ten refusals of an hour each cost the item none of them."""
    provider = refusing(LIMITED)
    async with engine_at(database_url, tmp_path, provider, clock) as engine:
        batch = await submit(engine, rows(1))
        for hour in range(1, 11):
            async with asyncio.timeout(60):
                while len(provider.prompts) < hour:
                    await batch.changed(0.02)
            await waiting(batch, 1)
            clock.ahead_s += HOUR_S + 1
        provider.says = None
        after = await batch.done()
        assert (after.succeeded, after.failed) == (1, 0)
        told = [event async for event in batch.events() if event.kind is EventKind.ITEM_WAITING]
        assert len(told) == 10
        assert all(event.data["renews"] and event.data["due_at"] for event in told)
        assert await audited(engine) == []


@RENEWING
async def test_a_person_may_have_it_tried_before_its_time(
    database_url: str, tmp_path: Path, clock: Leaping, says: Outcome
) -> None:
    """Long waits are told before others, and are due at once when a batch is resumed."""
    provider = refusing(says)
    async with engine_at(database_url, tmp_path, provider, clock) as engine:
        batch = await submit(engine, rows(1))
        await waiting(batch, 1)
        await batch.pause()
        await batch.resume()
        async with engine.database.acquire() as connection:
            due_at = await connection.fetchval("SELECT min(due_at) FROM item")
        assert due_at <= clock.now()


async def test_long_waits_are_told_before_retries(
    database_url: str, tmp_path: Path, clock: Leaping
) -> None:
    """What waits for hours comes first, in one line though each refusal has its own words."""
    provider = refusing(LIMITED)
    async with engine_at(database_url, tmp_path, provider, clock) as engine:
        batch = await submit(engine, rows(5))
        await waiting(batch, 5)
        async with engine.database.transaction() as connection:
            for idx in range(5):
                error = {"code": "transient", "reason": "HTTP 503"}
                if idx < 2:
                    error = {"code": "rate_limited", "reason": f"in 1h{idx}m", "renews": True}
                await connection.execute(
                    "UPDATE item SET error = $2::json WHERE idx = $1", idx, json.dumps(error)
                )
        told = [(wait.code, wait.items) for wait in await batch.waits()]
        assert told == [("rate_limited", 2), ("transient", 3)]
