"""Many workers on one database: who is there, who takes what, and what is handed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.config import Worker as WorkerConfig
from headrace.engine import Engine, open_engine
from headrace.errors import DatabaseError
from headrace.provider import CrashClass
from headrace.store import schema, shards, workers
from headrace.store.audit import verify
from headrace.store.database import Database
from headrace.store.workers import WorkerState
from headrace.submission import Terms
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import recipe, rows

HEARTBEAT_S = 10.0


@asynccontextmanager
async def engine_on(
    url: str, home: Path, provider: Scripted, *classes: str, work: bool = True
) -> AsyncIterator[Engine]:
    config = Config(
        home=str(home),
        database_url=url,
        retry=Retry(attempts=3, base_s=0.0, cap_s=0.0),
        worker=WorkerConfig(classes=",".join(classes), shards_held=2, gate="local"),
    )
    async with open_engine(config, providers={provider.name: provider}, work=work) as engine:
        yield engine


async def submit(engine: Engine, count: int, class_name: str, word: str) -> Batch:
    terms = Terms(class_name=class_name, cache="off", canary=0)
    return await engine.submit(rows(count, word), recipe(), columns=["t"], terms=terms)


async def seen(database: Database, engine: Engine, **more: Any) -> list[workers.WorkerSeen]:
    now = engine.clock.now() + timedelta(**more)
    async with database.acquire() as connection:
        return await workers.seen(connection, now, HEARTBEAT_S, now - timedelta(hours=1))


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


async def test_workers_are_seen_with_what_they_are(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Who works stands in the list with host, pid, version, classes and a sign of life."""
    async with engine_on(database_url, tmp_path, Scripted(), "batch", "bulk") as engine:
        (one,) = await seen(database, engine)
        assert (one.id, one.state) == (engine.worker.id, WorkerState.WORKING)
        assert one.classes == ["batch", "bulk"]
        assert one.version
        assert one.host
        assert one.pid > 0
        assert one.shards_held == 2
        assert one.heartbeat_at is not None
        late = await seen(database, engine, seconds=3 * HEARTBEAT_S + 60)
        assert late[0].state is WorkerState.SILENT
    (one,) = await seen(database, engine)
    assert one.state is WorkerState.ENDED


async def test_a_worker_whose_session_is_gone_is_told_so(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """The database knows at once that a worker is gone, whatever its last heartbeat was."""
    async with engine_on(database_url, tmp_path, Scripted(), work=False) as engine:
        async with database.acquire() as connection:
            await connection.execute(
                "INSERT INTO worker (host, pid, version, shards_held, started_at, heartbeat_at)"
                " VALUES ('other', 7, '0', 4, now(), now())"
            )
        assert [one.state for one in await seen(database, engine)] == [WorkerState.GONE]
    # The next to come signs it out.
    async with engine_on(database_url, tmp_path, Scripted()) as engine:
        states = {one.host: one.state for one in await seen(database, engine)}
        assert states.pop("other") is WorkerState.ENDED
        assert set(states.values()) == {WorkerState.WORKING}


async def test_draining_is_told_while_calls_are_in_flight(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """A worker that was told to stop says so, takes no more, and ends when its calls have."""
    provider = Scripted()
    provider.gate.clear()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(engine_on(database_url, tmp_path, provider))
        await submit(engine, 300, "batch", "row")
        await until(lambda: len(provider.prompts) == 16)
        closing = asyncio.create_task(stack.pop_all().aclose())
        async with asyncio.timeout(60):
            while (await seen(database, engine))[0].state is not WorkerState.DRAINING:
                await asyncio.sleep(0)
        assert not closing.done()
        provider.gate.set()
        await closing
    assert len(provider.prompts) == 16
    async with engine_on(database_url, tmp_path, provider) as engine:
        recent = (await engine.recent())[0]
        await engine.batch(recent.id).done()
    assert sorted(provider.prompts) == sorted(row["t"] for row in rows(300))


async def test_a_worker_takes_its_classes_only(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """With one worker for bulk and one for the others each sees its own, and all is done."""
    bulk, others = Scripted(), Scripted()
    async with (
        engine_on(database_url, tmp_path, bulk, "bulk") as one,
        engine_on(database_url, tmp_path, others, "interactive", "batch") as other,
    ):
        made = [
            await submit(one, 120, "bulk", "bulk"),
            await submit(one, 120, "batch", "batch"),
            await submit(other, 40, "interactive", "now"),
            await submit(other, 60, "bulk", "more"),
        ]
        for batch in made:
            assert (await batch.done()).succeeded == (await batch.summary()).item_count
    assert {prompt.split()[0] for prompt in bulk.prompts} == {"bulk", "more"}
    assert {prompt.split()[0] for prompt in others.prompts} == {"batch", "now"}
    async with database.acquire() as connection:
        assert await verify(connection) == []


async def test_work_that_nobody_takes_holds_up_no_other(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """A mountain of a class without a worker waits; it takes no place from the others."""
    provider = Scripted()
    async with engine_on(database_url, tmp_path, provider, "batch") as engine:
        waiting = [await submit(engine, 5000, "bulk", "bulk") for _ in range(3)]
        batch = await submit(engine, 80, "batch", "row")
        assert (await batch.done()).succeeded == 80
        assert len(provider.prompts) == 80
        async with database.acquire() as connection:
            sql = (
                "SELECT count(*) FROM shard JOIN batch ON batch.id = batch_id WHERE class = 'bulk'"
            )
            assert await connection.fetchval(sql) == 0
        async with engine_on(database_url, tmp_path, provider) as whole:
            for each in waiting:
                await engine.batch(each.id).cancel()
            more = await submit(whole, 30, "bulk", "more")
            assert (await more.done()).succeeded == 30


async def test_what_stood_in_the_queue_before_is_handed_on(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Shards queued while all workers took all classes reach one that may work on them."""
    bulk, others = Scripted(), Scripted()
    async with engine_on(database_url, tmp_path, Scripted(), work=False) as engine:
        batch = await submit(engine, 100, "bulk", "bulk")
        async with database.transaction() as connection:
            assert await shards.cut(connection, 20, engine.clock.now()) > 0
            names = await connection.fetch("SELECT DISTINCT entrypoint FROM pgqueuer")
            assert {row["entrypoint"] for row in names} <= {"shard", "express"}
    async with (
        engine_on(database_url, tmp_path, others, "batch"),
        engine_on(database_url, tmp_path, bulk, "bulk") as one,
    ):
        assert (await one.batch(batch.id).done()).succeeded == 100
    assert len(bulk.prompts) == 100
    assert others.prompts == []


async def test_what_is_handed_over_is_nobodys_crash(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """At the end of the time to drain others go on at once, and no item is taken for poison."""
    provider = Scripted(crash_class=CrashClass.KEYED)
    provider.gate.clear()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(engine_on(database_url, tmp_path, provider))
        batch = await submit(engine, 40, "batch", "row")
        await until(lambda: len(provider.prompts) == 16)
        for _ in range(4):
            # As often as no item survives crashes; the process would have ended in between.
            assert await engine.worker.hand_over() > 0
            async with database.transaction() as connection:
                held = await connection.fetch("SELECT id FROM shard WHERE state = 'open'")
                for row in held:
                    claim = await shards.claim(connection, row["id"], engine.worker.id)
                    assert claim is not None
        assert await engine.worker.hand_over() > 0
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT sum(crashes) FROM item") == 0
        keys = list(provider.keys)
        provider.gate.set()
        async with engine_on(database_url, tmp_path, provider) as other:
            summary = await other.batch(batch.id).done()
    assert (summary.succeeded, summary.repeats) == (40, 0)
    # The calls in flight were made again under the keys they had: nothing is bought twice.
    assert set(keys) <= set(provider.keys[16:])
    async with database.acquire() as connection:
        assert await verify(connection) == []


async def test_the_list_is_empty_where_nobody_works(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Who only looks on is no worker."""
    async with engine_on(database_url, tmp_path, Scripted(), work=False) as engine:
        assert await seen(database, engine) == []


async def test_a_worker_whose_session_ends_behind_a_contraction_does_not_come_back(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """While it was away its release was left behind: it stays out, says so, and ends cleanly."""
    async with engine_on(database_url, tmp_path, Scripted()) as engine:
        async with database.transaction() as connection:
            await schema.write_notes(connection, "9999")
        async with database.acquire() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND classid = 7262"
            )
        async with asyncio.timeout(60):
            await engine.database.outdated.wait()
        with pytest.raises(DatabaseError, match="needs a release that knows 9999"):
            engine.database.refuse_outdated()
        async with database.acquire() as connection:
            assert (await workers.seen(connection, engine.clock.now(), 10.0, engine.clock.now()))[
                0
            ].state is WorkerState.GONE


async def test_a_worker_does_not_sign_in_behind_a_contraction(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Between opening the database and signing in a migration may pass: it is looked at again."""
    provider = Scripted()
    async with engine_on(database_url, tmp_path, provider, work=False) as engine:
        async with database.transaction() as connection:
            await schema.write_notes(connection, "9999")
        with pytest.raises(DatabaseError, match="needs a release that knows 9999"):
            async with engine.working():
                raise AssertionError("it must not work")
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM worker") == 0
