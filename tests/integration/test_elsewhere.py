"""Results on demand of an engine that only looks on: a worker elsewhere makes them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headrace.errors import NoWorkerError
from headrace.generation import GenerationError
from headrace.loops.elsewhere import Elsewhere
from headrace.loops.sharder import Sharder
from headrace.outcome import OutcomeKind
from headrace.store.audit import verify
from headrace.store.database import Database
from headrace.testing import ManualClock
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on, rows, submit


async def test_who_only_looks_on_has_it_made_by_a_worker(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Many at once are made together, the same one once; what fails fails, and the books add up."""

    def script(prompt: str, nth: int) -> OutcomeKind | None:
        return OutcomeKind.REFUSED if prompt == "no" else None

    bought, looked = Scripted(script), Scripted(script)
    bought.gate.clear()
    async with (
        engine_on(database_url, tmp_path / "a", looked, work=False) as looking,
        engine_on(database_url, tmp_path / "b", bought),
        asyncio.timeout(60),
    ):
        wanted = ["a", "b", "c", "a", "no"]
        asking = [asyncio.create_task(looking.generate("scripted:m", prompt)) for prompt in wanted]
        while len(bought.prompts) < 4:  # all of them are held before the first is made
            await asyncio.sleep(0)
        bought.gate.set()
        made = await asyncio.gather(*asking[:-1])
        with pytest.raises(GenerationError, match="scripted refused"):
            await asking[-1]
        assert [one.body for one in made] == [f"made of {prompt}".encode() for prompt in wanted[:4]]
        assert (await looking.generate("scripted:m", "a")).cached
        assert sorted(bought.prompts) == ["a", "b", "c", "no"]
        assert looked.prompts == []
    async with database.acquire() as connection:
        assert await verify(connection) == []


async def test_without_any_worker_it_is_refused_and_nothing_is_reserved(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Nobody would make it: the error says what to start, and what is cached is served."""
    provider = Scripted()
    async with engine_on(database_url, tmp_path, provider) as working:
        await (await submit(working, rows(1))).done()
    async with engine_on(database_url, tmp_path, provider, work=False) as looking:
        with pytest.raises(NoWorkerError, match="headrace worker"):
            await looking.generate("scripted:m", "row 1")
        assert (await looking.generate("scripted:m", "row 0")).cached
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM batch") == 1
        assert (
            await connection.fetchval("SELECT count(*) FROM transfer WHERE kind = 'reserve'") == 1
        )


async def test_all_who_wait_are_one_look_and_what_is_forgotten_ends(database: Database) -> None:
    """However many wait, each tick asks once; a batch that is not there holds up nobody."""
    clock = ManualClock()
    elsewhere = Elsewhere(database, clock, Sharder(database, clock, 100))
    async with database.transaction() as connection:
        ids = [
            await connection.fetchval(
                "INSERT INTO batch (id, tenant_id, name, state, recipe_name, recipe_version,"
                " recipe, cache_mode, unknown_policy, created_at) VALUES (gen_random_uuid(),"
                " 'default', 'b', 'paused', 'r', '\\x00', '{}', 'reuse', 'retry', now())"
                " RETURNING id"
            )
            for _ in range(3)
        ]
    waiting = [asyncio.create_task(elsewhere.made(one)) for one in ids]
    async with asyncio.timeout(60):
        while clock.sleepers == 0:
            await asyncio.sleep(0)
    async with database.transaction() as connection:
        await connection.execute("UPDATE batch SET state = 'completed' WHERE id = $1", ids[0])
        await connection.execute("DELETE FROM batch WHERE id = $1", ids[1])
    async with asyncio.timeout(60):
        while not (waiting[0].done() and waiting[1].done()):
            await clock.advance(0.1)
            await asyncio.sleep(0)
    assert not waiting[2].done()
    waiting[2].cancel()
    await elsewhere.stop()
