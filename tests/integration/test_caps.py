"""A plan's cap of calls in flight, end to end on a real PostgreSQL: kept, and nobody held up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headrace.config import Config, Worker
from headrace.engine import Engine, open_engine
from headrace.limits import Dimension, Limit, Quota
from headrace.provider import Call, Reply
from headrace.store import plans
from headrace.testing.manual_clock import settle
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_fairness import submit, until


class Slow(Scripted):
    """Answers to the tenant ``capped`` come when the gate is open; counts calls in flight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.quota = Quota(width, (Limit(Dimension.CONCURRENCY, float(width)),), pinned=True)
        self.gate.clear()
        self.free = asyncio.Event()
        self.free.set()
        self.out: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    async def call(self, call: Call) -> Reply:
        """Wait for the gate where the tenant is the capped one."""
        prompt = call.request.params["prompt"]
        tenant = prompt.rsplit(" ", 1)[0]
        self.prompts.append(prompt)
        self.out[tenant] += 1
        self.most[tenant] = max(self.most[tenant], self.out[tenant])
        try:
            await (self.gate if tenant == "capped" else self.free).wait()
            await settle()
        finally:
            self.out[tenant] -= 1
        self.done[tenant] += 1
        return Reply("text/plain", body=prompt.encode(), cost_microusd=40_000)


@asynccontextmanager
async def engine_on(
    url: str, home: Path, provider: Slow, shards_held: int = 4
) -> AsyncIterator[Engine]:
    worker = Worker(shards_held=shards_held)
    config = Config(home=str(home), database_url=url, worker=worker)
    async with open_engine(config, providers={provider.name: provider}) as engine:
        try:
            yield engine
        finally:
            provider.gate.set()  # a call that hangs would keep the engine open
            provider.free.set()


async def capped(engine: Engine, count: int, calls_max: int | None) -> Batch:
    """Submit items of a tenant that may have so many calls in flight."""
    async with engine.database.transaction() as connection:
        await plans.put(connection, "few", {"calls_max": calls_max}, engine.clock.now())
        await connection.execute(
            "INSERT INTO tenant (id, name, unlimited, plan) "
            "VALUES ('capped', 'capped', true, 'few') ON CONFLICT (id) DO NOTHING"
        )
    return await submit(engine, "capped", count)


async def test_a_blocked_tenant_is_skipped_and_the_others_have_the_rest(
    database_url: str, tmp_path: Path
) -> None:
    """Its own two calls hang; behind its 3,000 items, on two shard places, others are all made."""
    provider = Slow(10)
    async with engine_on(database_url, tmp_path, provider, shards_held=2) as engine:
        held = await capped(engine, 3000, 2)
        await until(lambda: provider.out["capped"] == 2)
        provider.free.clear()
        others = [await submit(engine, f"other {at}", 200) for at in range(3)]
        await until(lambda: sum(provider.out.values()) == 10)
        provider.free.set()
        async with asyncio.timeout(60):
            for batch in others:
                assert (await batch.done()).succeeded == 200
        assert provider.most["capped"] == 2
        async with engine.database.acquire() as connection:
            open_items = await connection.fetchval(
                "SELECT sum(shard.idx_to - shard.idx_from + 1) FROM shard "
                "JOIN batch ON batch.id = shard.batch_id "
                "WHERE shard.state = 'open' AND batch.tenant_id = 'capped'"
            )
        assert open_items <= 100
        provider.gate.set()
        await until(lambda: provider.done["capped"] > 100)
        assert provider.most["capped"] == 2
        await held.cancel()


async def test_a_cap_holds_over_two_workers(database_url: str, tmp_path: Path) -> None:
    """Of one tenant's items, at two engines on one database, so many are in flight together."""
    provider = Slow(10)
    provider.gate.set()
    async with (
        engine_on(database_url, tmp_path, provider) as one,
        engine_on(database_url, tmp_path, provider) as two,
    ):
        first = await capped(one, 300, 3)
        other = await submit(two, "other", 300)
        async with asyncio.timeout(100):
            assert (await first.done()).succeeded == 300
            assert (await other.done()).succeeded == 300
    assert provider.most["capped"] == 3
    assert provider.most["other"] > 3


@pytest.mark.parametrize("calls_max", [None, 100])
async def test_a_cap_that_is_none_or_wide_changes_nothing(
    database_url: str, tmp_path: Path, calls_max: int | None
) -> None:
    """The tenant has the whole width of the lane."""
    provider = Slow(10)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await capped(engine, 50, calls_max)
        await until(lambda: provider.out["capped"] == 10)
        provider.gate.set()
        assert (await batch.done()).succeeded == 50
