"""What is forgotten is gone, what others have stays, and the books are right all the same."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.artifact import Artifact
from headrace.blob import aside_key, blob_key
from headrace.engine import Engine
from headrace.errors import ConflictError, NotFoundError
from headrace.forgetting import Forgetting
from headrace.lifecycle import ItemState
from headrace.loops.sweeper import GRACE, Sweeper
from headrace.outcome import OutcomeKind
from headrace.store import erasure, files, statements
from headrace.store.audit import verify
from headrace.takeout import Takeout
from headrace.testing.manual_clock import ManualClock
from headrace.upkeep_settings import Retention
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on, recipe

SECRET = "Ada Lovelace, 12 Mill Lane"
BODY = 20_000
"""Larger than what rests in the database."""


def script(prompt: str, nth: int) -> OutcomeKind | None:
    return OutcomeKind.REFUSED if "bad" in prompt else None


class House:
    """An engine whose sweeper is moved by hand, a minute after everything else."""

    def __init__(self, engine: Engine, provider: Scripted) -> None:
        self.engine, self.provider = engine, provider
        self.clock = ManualClock(engine.clock.now() + timedelta(minutes=1))
        self.forgetting = Forgetting(engine.database, self.clock)
        self.sweeper = self.sweeping()

    def sweeping(self, **days: int) -> Sweeper:
        return Sweeper(self.engine.database, self.engine.blobs, self.clock, Retention(**days))

    async def batch(self, *texts: str, **terms: Any) -> Batch:
        given = [{"t": text} for text in texts]
        batch = await self.engine.submit(given, recipe(), columns=["t"], **terms)
        await batch.done()
        return batch

    async def sweep(self, times: int = 3) -> None:
        """Let as many graces go by."""
        for _ in range(times):
            await self.clock.advance(GRACE.total_seconds() + 1)
            await self.sweeper.tick()

    async def artifact(self, batch: Batch, idx: int = 0) -> Artifact:
        async for item in batch.items(idx - 1):
            assert item.artifact is not None
            return item.artifact
        raise AssertionError

    async def all(self, sql: str, *args: Any) -> list[Any]:
        async with self.engine.database.acquire() as connection:
            return [dict(row) for row in await connection.fetch(sql, *args)]

    async def dump(self) -> str:
        """Every row of every table of ours, as text."""
        found = ""
        names = await self.all(
            "SELECT table_name AS name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        for one in names:
            rows = await self.all(f'SELECT t::text AS row FROM "{one["name"]}" AS t')
            found += "\n".join(row["row"] for row in rows)
        return found

    async def audit(self) -> list[str]:
        async with self.engine.database.acquire() as connection:
            return await verify(connection)


async def opened(url: str, home: Path, body_bytes: int) -> AsyncIterator[House]:
    provider = Scripted(script, body_bytes=body_bytes)
    async with engine_on(url, home, provider) as engine:
        for loop in engine._upkeep:
            await loop.stop()
        yield House(engine, provider)


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async for one in opened(database_url, tmp_path, BODY):
        yield one


@pytest.fixture
async def small_house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """Its results rest in the database."""
    async for one in opened(database_url, tmp_path, 0):
        yield one


# -- forgetting ----------------------------------------------------------------------------------


async def test_a_forgotten_batch_leaves_only_its_sums(small_house: House) -> None:
    """No table holds a word of its rows or results; ledger, counts and attempts still add up."""
    house = small_house
    batch = await house.batch(SECRET, "bad " + SECRET, SECRET)
    before = await house.all("SELECT * FROM transfer ORDER BY id")
    costs = await house.all("SELECT cost_microusd, outcome, lane FROM attempt ORDER BY 1, 2")
    assert SECRET in await house.dump()
    await house.forgetting.batch(batch.uuid, "default")
    await house.sweep()
    assert "Lovelace" not in await house.dump()
    assert SECRET.encode().hex() not in await house.dump()
    assert await house.all("SELECT * FROM transfer ORDER BY id") == before
    assert costs == await house.all(
        "SELECT cost_microusd, outcome, lane FROM attempt ORDER BY 1, 2"
    )
    assert await house.audit() == []
    for call in (batch.summary(), batch.retry({ItemState.REFUSED})):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(NotFoundError):
        await house.forgetting.batch(batch.uuid)
    assert await house.engine.recent() == []
    # What it had is bought anew, because nothing remembers it.
    bought = len(house.provider.prompts)
    again = await house.batch(SECRET)
    assert len(house.provider.prompts) == bought + 1
    assert (await again.summary()).succeeded == 1


async def test_bytes_of_nobody_leave_and_those_of_others_stay(house: House) -> None:
    """A blob goes when its last batch is forgotten, whoever had it before; not a moment earlier."""
    blobs = house.engine.blobs
    one = await house.batch("mine", "shared")
    two = await house.batch("shared")
    mine, shared = await house.artifact(one, 0), await house.artifact(one, 1)
    assert (await house.artifact(two)).sha256 == shared.sha256
    await house.forgetting.batch(one.uuid)
    await house.clock.advance(GRACE.total_seconds() - 60)
    await house.sweeper.tick()
    assert await blobs.exists(mine.sha256)
    await house.sweep(1)
    assert not await blobs.exists(mine.sha256)
    await house.sweep(1)
    with pytest.raises(NotFoundError):
        await blobs.read(mine.sha256)
    assert len(await blobs.read(shared.sha256)) == BODY
    assert await house.audit() == []
    await house.forgetting.batch(two.uuid)
    await house.sweep()
    with pytest.raises(NotFoundError):
        await blobs.read(shared.sha256)
    for table in ("artifact", "artifact_owner", "cache_entry", "leaving_blob", "event"):
        assert await house.all(f"SELECT * FROM {table}") == []
    assert await house.audit() == []


async def test_a_batch_that_runs_is_not_forgotten(house: House) -> None:
    """It must be cancelled first; until it has ended nothing of it goes."""
    house.provider.gate.clear()
    given = [{"t": "a"}, {"t": "b"}]
    batch = await house.engine.submit(given, recipe(), columns=["t"])
    with pytest.raises(ConflictError, match="still runs"):
        await house.forgetting.batch(batch.uuid)
    with pytest.raises(ConflictError, match="still run"):
        await house.forgetting.tenant("default")
    await batch.cancel()
    house.provider.gate.set()
    await batch.done()
    await house.forgetting.batch(batch.uuid)
    assert await house.audit() == []


async def test_forgetting_and_retrying_at_once_leave_no_half(house: House) -> None:
    """Of both, raced, one wins: a batch that runs again is whole, one that is forgotten is gone."""
    for number in range(5):
        batch = await house.batch(f"bad {number}")
        ends = await asyncio.gather(
            house.forgetting.batch(batch.uuid),
            batch.retry({ItemState.REFUSED}),
            return_exceptions=True,
        )
        assert sum(isinstance(end, Exception) for end in ends) == 1, ends
        if isinstance(ends[0], Exception):
            assert (await batch.done()).refused == 1
    assert await house.audit() == []


# -- the same bytes at the same time -----------------------------------------------------------


async def test_bytes_given_to_a_new_item_at_any_moment_are_kept(house: House) -> None:
    """Whatever the sweeper has done since a blob was put, the settle that names it finds it."""
    blobs = house.engine.blobs
    for stops in range(4):
        batch = await house.batch(f"text {stops}")
        old = await house.artifact(batch)
        body = await blobs.read(old.sha256)
        await house.forgetting.batch(batch.uuid)
        await house.sweep(stops)
        await house.clock.advance(GRACE.total_seconds() - 10)
        # A purchase gives the same bytes: they are found in their place, or put there anew …
        made = await blobs.put(body, old.media_type)
        assert made.sha256 == old.sha256
        # … then the sweeper comes by before its settle, which is within the grace …
        await house.clock.advance(20)
        await house.sweeper.tick()
        async with house.engine.database.transaction() as connection:
            await settle(connection, house, made)
        assert await blobs.read(made.sha256) == body
        # … and ever after.
        await hold(house, made)
        await house.sweep(4)
        assert await blobs.exists(made.sha256)
        assert await blobs.read(made.sha256) == body
        assert len(await house.all("SELECT FROM artifact WHERE sha256 = $1", made.sha256)) == 1


async def settle(connection: Any, house: House, made: Artifact) -> None:
    """Keep an artifact as a settle does."""
    await connection.execute(
        statements.load("artifacts/keep.sql"),
        [made.sha256], [made.media_type], [made.size_bytes], [made.body], house.clock.now(),
    )  # fmt: skip


async def hold(house: House, made: Artifact) -> None:
    """Let an item of a batch that stays have the artifact."""
    keeper = await house.batch(f"keeps {made.sha256.hex()}")
    async with house.engine.database.acquire() as connection:
        await connection.execute(
            "UPDATE item SET outputs = $2 WHERE batch_id = $1",
            keeper.uuid,
            json.dumps({"make": made.to_json()}),
        )


async def test_a_settle_in_the_middle_of_the_sweep_wins(small_house: House) -> None:
    """The sweeper waits for a settle that keeps a doomed artifact, looks again, and spares it."""
    house = small_house
    batch = await house.batch("raced")
    made = (await house.all("SELECT * FROM artifact"))[0]
    artifact = Artifact(made["sha256"], made["media_type"], made["size_bytes"], made["body"])
    await house.forgetting.batch(batch.uuid)
    await house.clock.advance(GRACE.total_seconds() + 1)
    async with house.engine.database.transaction() as connection:
        await settle(connection, house, artifact)
        sweeping = asyncio.create_task(house.sweeper.tick())
        waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1"
        while not await house.all(waits, "%DELETE FROM artifact%"):
            assert not sweeping.done()
    await sweeping
    (kept,) = await house.all("SELECT sha256, body, doomed_at FROM artifact")
    assert kept == {"sha256": artifact.sha256, "body": artifact.body, "doomed_at": None}


async def test_a_result_taken_from_the_cache_before_it_was_forgotten_stays(
    house: House,
) -> None:
    """An item that saw the entry may settle within the grace; then its bytes are spared."""
    batch = await house.batch("seen")
    seen = await house.artifact(batch)
    await house.forgetting.batch(batch.uuid)
    await house.clock.advance(GRACE.total_seconds() - 1)
    await house.sweeper.tick()
    await hold(house, seen)
    await house.sweep(4)
    assert len(await house.engine.blobs.read(seen.sha256)) == BODY
    assert await house.audit() == []


async def test_a_row_that_names_an_artifact_keeps_it_until_it_ran(house: House) -> None:
    """A pending row with ``sha256:…`` is a reference like any other."""
    batch = await house.batch("source")
    source = await house.artifact(batch)
    house.provider.gate.clear()
    name = f"sha256:{source.sha256.hex()}"
    naming = await house.engine.submit([{"t": name}], recipe(), columns=["t"])
    await house.forgetting.batch(batch.uuid)
    await house.sweep()
    house.provider.gate.set()
    assert len(await house.engine.blobs.read(source.sha256)) == BODY
    await naming.done()


async def test_files_and_artifacts_share_bytes_and_none_takes_the_others(house: House) -> None:
    """A file removed while an artifact is settled with its bytes leaves them there."""
    blobs, database = house.engine.blobs, house.engine.database
    made = await blobs.put(b"x" * BODY, "text/plain")
    file = house.engine.files.new("default", "a", "batch", made, None)
    await house.engine.files.add(file)
    assert (await blobs.put(b"x" * BODY, "text/plain")).sha256 == made.sha256
    assert await house.engine.files.remove("default", file.id)
    async with database.transaction() as connection:
        await settle(connection, house, made)
    await hold(house, made)
    await house.sweep()
    assert await blobs.exists(made.sha256)


# -- retention, orphans, a whole tenant ------------------------------------------------------


async def test_data_goes_after_its_days(house: House) -> None:
    """Each kind goes by its own days, the tenant's before the settings'; the books stay right."""
    batch = await house.batch(SECRET, "bad")
    house.sweeper = house.sweeping(inputs_days=10, artifacts_days=20, events_days=5)

    async def left() -> tuple[bool, bool, bool]:
        (row,) = await house.all(
            "SELECT bool_or(inputs::text LIKE '%Lovelace%') AS i, bool_or(outputs IS NOT NULL) AS o"
            " FROM item"
        )
        return row["i"], row["o"], await house.all("SELECT FROM event") != []

    for day, wanted in (
        (4, (True, True, True)),
        (2, (True, True, False)),
        (5, (False, True, False)),
        (10, (False, False, False)),
    ):
        await house.clock.advance(day * 86_400)
        await house.sweeper.tick()
        assert await left() == wanted
    assert [one async for one in batch.events()] == []
    assert (await batch.summary()).succeeded == 1
    with pytest.raises(ConflictError, match="lost its data"):
        await batch.retry({ItemState.REFUSED})
    assert await house.audit() == []
    await house.sweep()
    assert await house.all("SELECT FROM artifact") == []
    async with house.engine.database.transaction() as connection:
        await erasure.set_retention(connection, "default", {}, (None, None, None))
    kept = await house.batch("kept")
    await house.clock.advance(1000 * 86_400)
    await house.sweeper.tick()
    assert (await house.artifact(kept)).size_bytes == BODY
    async with house.engine.database.transaction() as connection:
        await erasure.set_retention(connection, "default", {"inputs_days": 1}, (9, 9, 9))
    await house.sweeper.tick()
    (row,) = await house.all("SELECT inputs::text AS t FROM item WHERE batch_id = $1", kept.uuid)
    assert row["t"] == "{}"


async def test_orphans_go_only_where_the_settings_say_so(house: House) -> None:
    """A blob that no row names leaves after its days; that of an artifact or a file stays."""
    blobs = house.engine.blobs
    orphan = await blobs.put(b"o" * BODY, "text/plain")
    held = await house.artifact(await house.batch("held"))
    filed = await blobs.put(b"f" * BODY, "text/plain")
    await house.engine.files.add(house.engine.files.new("default", "f", "batch", filed, None))
    await house.clock.advance(3 * 86_400)
    await house.sweep()
    assert await blobs.exists(orphan.sha256)
    house.sweeper = house.sweeping(orphans_days=2)
    await house.sweep(1)
    assert await blobs.exists(orphan.sha256)
    await house.sweep(2)
    with pytest.raises(NotFoundError):
        await blobs.read(orphan.sha256)
    assert await blobs.exists(held.sha256)
    assert await blobs.exists(filed.sha256)


async def test_one_process_sweeps_at_a_time(house: House) -> None:
    """While another holds the lock a sweep does nothing, and comes again."""
    batch = await house.batch("a")
    await house.forgetting.batch(batch.uuid)
    await house.clock.advance(GRACE.total_seconds() + 1)
    async with house.engine.database.transaction() as lock:
        assert await lock.fetchval(statements.load("erasure/alone.sql"))
        await house.sweeper.tick()
        assert len(await house.all("SELECT FROM artifact")) == 1
    await house.sweeper.tick()
    assert await house.all("SELECT FROM artifact") == []


async def test_all_of_a_tenant_goes_and_its_ledger_stays(small_house: House) -> None:
    """Batches, files, cache and webhooks; what others have is not touched."""
    house = small_house
    await house.batch(SECRET)
    await house.batch("more of " + SECRET)
    made = await house.engine.blobs.put(SECRET.encode(), "text/plain")
    await house.engine.files.add(house.engine.files.new("default", SECRET, "batch", made, None))
    before = await house.all("SELECT * FROM transfer ORDER BY id")
    assert await house.forgetting.tenant("default") == 2
    assert await house.forgetting.tenant("default") == 0
    await house.sweep()
    assert "Lovelace" not in await house.dump()
    with pytest.raises(NotFoundError):
        await house.engine.blobs.read(made.sha256)
    assert await house.all("SELECT * FROM transfer ORDER BY id") == before
    assert await house.audit() == []
    with pytest.raises(NotFoundError):
        await house.forgetting.tenant("nobody")


async def test_bytes_set_aside_are_read_until_they_are_removed(house: House) -> None:
    """Between place and removal a blob is readable; put again it is in its place again."""
    blobs = house.engine.blobs
    made = await blobs.put(b"a" * BODY, "text/plain")
    root = Path(house.engine.config.home) / "blobs"
    await blobs.set_aside(made.sha256)
    await blobs.set_aside(made.sha256)
    assert not (root / blob_key(made.sha256)).exists()
    assert (root / aside_key(made.sha256)).exists()
    assert await blobs.read(made.sha256) == b"a" * BODY
    assert blobs.path(made.sha256) == root / aside_key(made.sha256)
    assert (await blobs.put(b"a" * BODY, "text/plain")).sha256 == made.sha256
    await blobs.put_back(made.sha256)
    assert not (root / aside_key(made.sha256)).exists()
    assert await blobs.exists(made.sha256)
    async with house.engine.database.transaction() as connection:
        await files.lock(connection, made.sha256)


# -- everything out ------------------------------------------------------------------------------


async def test_a_takeout_holds_everything_once(house: House) -> None:
    """Rows, results, events, attempts, ledger and files, with their bytes; the end counts them."""
    batch = await house.batch(SECRET, "bad", SECRET)
    await house.batch(SECRET)
    made = await house.engine.blobs.put(b"line\n" * 300_000, "text/plain")
    await house.engine.files.add(house.engine.files.new("default", "f", "batch", made, None))
    async with house.engine.database.acquire() as connection:
        await connection.execute("INSERT INTO tenant (id, name) VALUES ('other', 'Other')")
    engine = house.engine
    takeout = Takeout(engine.database, engine.blobs, house.clock, "default")
    lines = [json.loads(line) async for line in takeout.lines()]
    kinds = [line["kind"] for line in lines]
    assert kinds[0] == "export"
    assert lines[-1]["counts"] == {kind: kinds.count(kind) for kind in set(kinds) - {"end"}}
    assert {kind: kinds.count(kind) for kind in ("batch", "item", "artifact", "file")} == {
        "batch": 2, "item": 4, "artifact": 2, "file": 1
    }  # fmt: skip
    items = [line for line in lines if line["kind"] == "item"]
    assert items[0]["inputs"] == {"t": SECRET}
    assert items[0]["batch_id"] == batch.id
    assert items[1]["error"]["code"] == "refused"
    assert max(len(line["base64"]) for line in lines if line["kind"] == "bytes") <= 1_048_576
    bodies: dict[str, bytes] = {}
    for line in lines:
        if line["kind"] == "bytes":
            found = bodies.get(line["sha256"], b"") if line["offset"] else b""
            assert line["offset"] == len(found)
            bodies[line["sha256"]] = found + base64.b64decode(line["base64"])
    for name, body in bodies.items():
        assert hashlib.sha256(body).hexdigest() == name
    assert len(bodies) == 2
    assert {"attempt", "event", "transfer"} <= set(kinds)
    theirs = Takeout(engine.database, engine.blobs, house.clock, "other")
    told = [json.loads(line)["kind"] async for line in theirs.lines()]
    assert told == ["export", "end"]
    await engine.blobs.delete(made.sha256)
    takeout = Takeout(engine.database, engine.blobs, house.clock, "default")
    lines = [json.loads(line) async for line in takeout.lines()]
    assert [x["sha256"] for x in lines if x["kind"] == "missing"] == [made.sha256.hex()]
