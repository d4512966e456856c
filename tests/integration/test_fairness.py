"""Fairness end to end on a real PostgreSQL: who is called when, between tenants and classes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config
from headrace.cutting import EXPRESS_ITEMS_MAX
from headrace.engine import Engine, open_engine
from headrace.limits import Quota
from headrace.recipe import Recipe, parse_recipe
from headrace.store import shards
from headrace.submission import Terms
from headrace.watching import Batch
from tests.integration.scripted import Scripted

HEAVY, LIGHT = 20_000, 10
LANE = "scripted"


def recipe() -> Recipe:
    stage = {"name": "make", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}"}
    return parse_recipe({"name": "test", "columns": {"required": ["t"]}, "stages": [stage]}, "test")


@pytest.fixture
def provider() -> Scripted:
    return one_at_a_time()


def one_at_a_time() -> Scripted:
    made = Scripted()
    made.quota = Quota(1, learns=False)
    return made


@asynccontextmanager
async def engine_on(url: str, home: Path, provider: Any, **more: Any) -> AsyncIterator[Engine]:
    config = Config(home=str(home), database_url=url)
    async with open_engine(config, providers={provider.name: provider}, **more) as engine:
        yield engine


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened


async def submit(engine: Engine, tenant: str, count: int, **terms: Any) -> Batch:
    async with engine.database.acquire() as connection:
        await connection.execute(
            "INSERT INTO tenant (id, name, unlimited) VALUES ($1, $1, true) ON CONFLICT DO NOTHING",
            tenant,
        )
        await connection.execute(
            "INSERT INTO account (tenant_id, kind) VALUES ($1, 'available'), ($1, 'held') "
            "ON CONFLICT DO NOTHING",
            tenant,
        )
    rows = ({"t": f"{tenant} {number}"} for number in range(count))
    made = Terms(tenant_id=tenant, cache="off", canary=0, **terms)
    return await engine.submit(rows, recipe(), columns=["t"], terms=made)


def waiting(*engines: Engine) -> int:
    return sum(each.gate.waiting(LANE) for each in engines)


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


async def quietly(engine: Engine, *batches: Batch) -> None:
    """End what is left, so that the engine closes soon."""
    for batch in batches:
        await batch.cancel()


async def test_the_last_to_come_waits_for_two_items_of_each_tenant_at_most(
    engine: Engine, provider: Scripted
) -> None:
    """G16: behind 20,000 items of one tenant, ten others with five items each take turns."""
    provider.gate.clear()
    heavy = await submit(engine, "heavy", HEAVY)
    await until(lambda: waiting(engine) > 100)
    before = waiting(engine)
    light = [await submit(engine, f"light {at}", 5) for at in range(LIGHT)]
    await until(lambda: waiting(engine) >= before + 5 * LIGHT)
    called = len(provider.prompts)
    provider.gate.set()
    for batch in light:
        await batch.done()
    await quietly(engine, heavy)
    seen: Counter[str] = Counter()
    for place, prompt in enumerate(provider.prompts[called:]):
        tenant = prompt.rsplit(" ", 1)[0]
        seen[tenant] += 1
        if tenant != "heavy":
            assert place < 2 * (LIGHT + 1) * seen[tenant]
    assert sum(seen.values()) - seen["heavy"] == 5 * LIGHT


async def test_classes_share_what_a_lane_does(engine: Engine, provider: Scripted) -> None:
    """Interactive, batch and bulk get 8 : 3 : 1 of the calls while all three have work."""
    provider.gate.clear()
    made = [
        await submit(engine, f"of {name}", 2000, class_name=name)
        for name in ("bulk", "batch", "interactive")
    ]
    await until(lambda: waiting(engine) > 300 + 40)
    called = len(provider.prompts)
    provider.gate.set()
    await until(lambda: len(provider.prompts) >= called + 120)
    await quietly(engine, *made)
    went = Counter(prompt.rsplit(" ", 1)[0] for prompt in provider.prompts[called : called + 120])
    assert abs(went["of interactive"] - 80) <= 4
    assert abs(went["of batch"] - 30) <= 4
    assert abs(went["of bulk"] - 10) <= 2


async def test_a_tenant_in_another_lane_does_not_wait_for_a_slow_one(
    database_url: str, tmp_path: Path
) -> None:
    """While one lane stands still under 20,000 items, another tenant's is served."""
    slow = one_at_a_time()
    slow.gate.clear()
    config = Config(home=str(tmp_path), database_url=database_url)
    fast = Scripted(name="fast")
    async with open_engine(config, providers={"scripted": slow, "fast": fast}) as engine:
        heavy = await submit(engine, "heavy", HEAVY)
        await until(lambda: waiting(engine) > 100)
        stage = {"name": "make", "kind": "generate", "model": "fast:m", "prompt": "{{ t }}"}
        body = {"name": "test", "columns": {"required": ["t"]}, "stages": [stage]}
        await submit(engine, "light", 1)
        batch = await engine.submit(
            [{"t": f"row {number}"} for number in range(30)],
            parse_recipe(body, "test"),
            columns=["t"],
            terms=Terms(class_name="bulk", tenant_id="light"),
        )
        summary = await asyncio.wait_for(batch.done(), 60)
        assert summary.succeeded == 30
        slow.gate.set()
        await quietly(engine, heavy)


async def test_a_batch_in_another_lane_does_not_wait_for_the_same_tenants_slow_one(
    database_url: str, tmp_path: Path
) -> None:
    """While 20,000 items of one recipe stand still, all of 500 of another are made."""
    slow, fast = one_at_a_time(), Scripted(name="fast")
    slow.gate.clear()
    config = Config(home=str(tmp_path), database_url=database_url)
    async with open_engine(config, providers={"scripted": slow, "fast": fast}) as engine:
        heavy = await submit(engine, "tenant", HEAVY)
        await until(lambda: waiting(engine) > 100)
        stage = {"name": "make", "kind": "generate", "model": "fast:m", "prompt": "{{ t }}"}
        body = {"name": "test", "columns": {"required": ["t"]}, "stages": [stage]}
        batch = await engine.submit(
            [{"t": f"row {number}"} for number in range(500)],
            parse_recipe(body, "test"),
            columns=["t"],
            terms=Terms(tenant_id="tenant", canary=0),
        )
        summary = await asyncio.wait_for(batch.done(), 60)
        stood = len(slow.prompts)
        slow.gate.set()
        await quietly(engine, heavy)
    assert (summary.succeeded, stood) == (500, 1)


async def test_two_workers_are_fair_together(database_url: str, tmp_path: Path) -> None:
    """Each light tenant is at the gate of one of them, and none waits for the heavy one's end."""
    first, second = one_at_a_time(), one_at_a_time()
    for each in (first, second):
        each.gate.clear()
    async with (
        engine_on(database_url, tmp_path, first) as one,
        engine_on(database_url, tmp_path, second) as two,
    ):
        heavy = await submit(one, "heavy", HEAVY)
        await until(lambda: waiting(one) > 50 and waiting(two) > 50)
        before = waiting(one, two)
        light = [await submit(one, f"light {at}", 5) for at in range(LIGHT)]
        await until(lambda: waiting(one, two) >= before + 5 * LIGHT)
        called = [len(first.prompts), len(second.prompts)]
        for each in (first, second):
            each.gate.set()
        for batch in light:
            await batch.done()
        await quietly(one, heavy)
        for each, start in zip((first, second), called, strict=True):
            seen: Counter[str] = Counter()
            for place, prompt in enumerate(each.prompts[start:]):
                tenant = prompt.rsplit(" ", 1)[0]
                seen[tenant] += 1
                if tenant != "heavy":
                    assert place < 2 * (LIGHT + 1) * seen[tenant]


async def fetch(engine: Engine, sql: str, *args: Any) -> list[Any]:
    async with engine.database.acquire() as connection:
        rows: list[Any] = await connection.fetch(sql, *args)
    return rows


async def cut(engine: Engine) -> int:
    async with engine.database.transaction() as connection:
        return await shards.cut(connection, 500, engine.clock.now())


EXPRESS_OPEN = "SELECT id, batch_id FROM shard WHERE express AND state = 'open' ORDER BY id"
JOIN = (
    "INSERT INTO worker (host, pid, version, shards_held, started_at) "
    "VALUES ('gone', 1, '0', 4, now()) RETURNING id"
)


async def test_an_express_shard_of_a_dead_worker_goes_the_express_way_again(
    database_url: str, tmp_path: Path, provider: Scripted
) -> None:
    """The rescuer hands it out again as what it was, and its items are made once."""
    async with engine_on(database_url, tmp_path, provider, work=False) as looking:
        batch = await submit(looking, "tenant", 5)
        assert await cut(looking) == 1
        [shard] = await fetch(looking, EXPRESS_OPEN)
        [gone] = await fetch(looking, JOIN)
        async with looking.database.transaction() as connection:
            await shards.claim(connection, shard["id"], gone["id"], looking.clock.now())
        async with looking.database.transaction() as connection:
            assert await shards.rescue(connection, 0, looking.clock.now()) == 1
        [job] = await fetch(
            looking,
            "SELECT entrypoint FROM pgqueuer JOIN shard ON shard.job_id = pgqueuer.id "
            "WHERE shard.id = $1",
            shard["id"],
        )
        assert job["entrypoint"] == "express"
    async with engine_on(database_url, tmp_path, provider) as engine:
        summary = await asyncio.wait_for(engine.batch(batch.uuid).done(), 60)
        assert (summary.succeeded, len(provider.prompts)) == (5, 5)


async def test_what_is_paused_or_cancelled_does_not_count_as_present(
    database_url: str, tmp_path: Path, provider: Scripted
) -> None:
    """A tenant whose only shards are of a batch that stands still gets an express one."""
    async with engine_on(database_url, tmp_path, provider, work=False) as engine:
        first = await submit(engine, "tenant", 100)
        while await cut(engine):
            pass
        second = await submit(engine, "tenant", 50)
        assert not await cut(engine)
        assert {row["batch_id"] for row in await fetch(engine, EXPRESS_OPEN)} == {first.uuid}
        await first.pause()
        assert await cut(engine)
        assert second.uuid in {row["batch_id"] for row in await fetch(engine, EXPRESS_OPEN)}


async def test_express_shards_are_few_and_bounded(
    database_url: str, tmp_path: Path, provider: Scripted
) -> None:
    """A hundred tenants with work get no more than a worker's places, of few items each."""
    async with engine_on(database_url, tmp_path, provider, work=False) as engine:
        for number in range(100):
            await submit(engine, f"tenant {number}", 20)
        while await cut(engine):
            pass
        assert len(await fetch(engine, EXPRESS_OPEN)) == 64
        sizes = await fetch(engine, "SELECT max(idx_to - idx_from + 1) FROM shard WHERE express")
        assert sizes[0][0] <= EXPRESS_ITEMS_MAX
