"""Paid results on their way to an object store that fails: between machines, through restarts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.config import Config, Run, Storage, Worker
from headrace.engine import Engine, open_engine
from headrace.errors import StorageError
from headrace.loops.uploader import NOBODYS_S, Uploader
from headrace.outbox import Outbox
from headrace.provider import Call, CrashClass, Reply
from headrace.recipe import parse_recipe
from headrace.store import spooled
from headrace.store.batches import Summary
from headrace.submission import Terms
from headrace.testing import ManualClock
from headrace.watching import Batch, ItemResult
from tests.integration.far_jobs import audit, moving, run_on
from tests.integration.scripted import Scripted

ROWS = 3
RECIPE_STAGES: list[dict[str, Any]] = [
    {"name": "make", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}"}
]
RECIPE = parse_recipe({"name": "pictures", "stages": RECIPE_STAGES}, "test")


class FarStore:
    """An object store that all machines of a test share, and that can be away."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.is_away = False

    def blobs(self, home: Path, bytes_max: int = 1 << 30) -> Blobs:
        """The store as a machine sees it, with a spool of its own."""
        far = self

        class Seen(Blobs):
            async def forward(self, artifact: Artifact) -> None:
                if far.is_away:
                    raise StorageError("the store is away")
                await super().forward(artifact)

            async def read(self, sha256: bytes) -> bytes:
                if far.is_away:
                    raise StorageError("the store is away")
                return await super().read(sha256)

        spool = home / "spool"
        return Seen(self.store, None, spool, Outbox(spool / "waiting", bytes_max, 3600.0))


class Painter(Scripted):
    """A provider that reads the pictures that go in; ``before_reading`` a test may act."""

    before_reading: Callable[[], None] = staticmethod(lambda: None)

    async def call(self, call: Call) -> Reply:
        """Read, then answer with a picture."""
        for sha256_hex in call.request.sources:
            self.before_reading()
            await call.source(sha256_hex)
        return replace(await super().call(call), media_type="image/png")


async def submitted(engine: Engine, policy: str = "retry") -> Batch:
    rows = [{"t": f"row {number}"} for number in range(ROWS)]
    return await engine.submit(rows, RECIPE, columns=["t"], terms=Terms(canary=0, unknown=policy))


async def until(engine: Engine, clock: ManualClock, holds: Callable[[list[str]], bool]) -> None:
    """Let time go by until the states of all items, in row order, are as wanted."""

    async def look() -> None:
        while True:
            async with engine.database.acquire() as connection:
                rows = await connection.fetch("SELECT state FROM item ORDER BY idx")
            if holds([row["state"] for row in rows]):
                return
            await asyncio.sleep(0)

    await moving(clock, look())


async def spooled_rows(engine: Engine) -> int:
    async with engine.database.acquire() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM spooled_result"))


async def all_spooled(engine: Engine, clock: ManualClock) -> None:
    async def look() -> None:
        while await spooled_rows(engine) < ROWS:
            await asyncio.sleep(0)

    await moving(clock, look())


@dataclass
class Scene:
    """A store that all machines share, what they buy from, and the time they live by."""

    database_url: str
    monkeypatch: pytest.MonkeyPatch
    provider: Scripted = field(default_factory=lambda: Scripted(body_bytes=20_000))
    far: FarStore = field(default_factory=FarStore)
    clock: ManualClock = field(default_factory=ManualClock)

    @asynccontextmanager
    async def machine(self, home: Path) -> AsyncIterator[Engine]:
        """An engine on a machine of its own; its time moves while it ends."""

        async def blobs_of(config: Config) -> Blobs:
            return self.far.blobs(home)

        self.monkeypatch.setattr("headrace.engine.blobs_of", blobs_of)
        config = Config(
            home=str(home),
            database_url=self.database_url,
            run=Run(canary=0),
            storage=Storage(lost_after_s=3600.0),
            worker=Worker(gate="local"),
        )
        ending, providers = None, {"scripted": self.provider}
        async with open_engine(config, clock=self.clock, providers=providers) as engine:
            try:
                yield engine
            finally:
                ending = asyncio.create_task(run_on(self.clock))
        ending.cancel()

    async def left(self, home: Path, policy: str = "retry") -> Batch:
        """Buy a batch while the store is away, and stop the machine; returns the batch."""
        self.far.is_away = True
        async with self.machine(home) as engine:
            batch = await submitted(engine, policy)
            await all_spooled(engine, self.clock)
        assert len(list((home / "spool" / "waiting").iterdir())) == ROWS
        self.far.is_away = False
        return batch

    async def done(self, engine: Engine, batch: Batch) -> Summary:
        """The end of a batch, while time goes by."""
        summary: Summary = await moving(self.clock, engine.batch(batch.uuid).done())
        return summary


@pytest.fixture
def scene(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(database_url, monkeypatch)


async def stray_of(engine: Engine) -> tuple[Outbox, Artifact]:
    """A body in the spool that nobody waits for."""
    outbox = engine.blobs.outbox
    assert outbox is not None
    room = await outbox.enter()
    stray = await engine.blobs.put(b"x" * 20_000, "text/plain", room)
    room.release()
    return outbox, stray


async def all_sound(engine: Engine, batch: Batch) -> list[ItemResult]:
    """The items of a batch, whose artifacts the store has as they were made."""
    found = [item async for item in engine.batch(batch.uuid).items()]
    for item in found:
        assert item.artifact is not None
        assert await engine.blobs.verify(item.artifact.sha256) == "sound"
    return found


async def test_a_stopped_process_leaves_results_and_the_next_sends_them(
    scene: Scene, tmp_path: Path
) -> None:
    """Nothing is settled that others cannot read; after the restart nobody is called again."""
    provider, clock = scene.provider, scene.clock
    batch = await scene.left(tmp_path)
    async with scene.machine(tmp_path) as engine:
        summary = await scene.done(engine, batch)
        assert summary.succeeded == ROWS
        assert len(provider.prompts) == ROWS
        assert summary.cost_microusd == ROWS * 40_000
        assert await spooled_rows(engine) == 0
        assert [item.attempts for item in await all_sound(engine, batch)] == [2] * ROWS
        assert not list((tmp_path / "spool" / "waiting").iterdir())
        # The cache has them, too: the same again is not bought.
        again = await submitted(engine)
        assert (await moving(clock, again.done())).succeeded == ROWS
        assert len(provider.prompts) == ROWS
        assert await audit(engine) == []


async def test_what_was_left_takes_room_before_the_first_call(scene: Scene, tmp_path: Path) -> None:
    """The bound of the spool holds from the start, with the bodies of processes before."""
    await scene.left(tmp_path)
    async with scene.machine(tmp_path) as engine:
        assert engine.blobs.outbox is not None
        assert engine.blobs.outbox.used_bytes == ROWS * 20_000


async def test_another_machine_waits_for_the_one_that_has_the_result(
    scene: Scene, tmp_path: Path
) -> None:
    """It says where the result waits, buys nothing, and goes on once the object is there."""
    provider, clock = scene.provider, scene.clock
    batch = await scene.left(tmp_path / "a")
    async with scene.machine(tmp_path / "b") as engine:
        await until(engine, clock, lambda states: states == ["waiting"] * ROWS)
        async for item in engine.batch(batch.uuid).items():
            assert item.error is not None
            assert str(tmp_path / "a") in item.error["reason"]
        first = scene.far.blobs(tmp_path / "a")
        await Uploader(engine.database, first, clock).tick()
        await first.close()
        assert not list((tmp_path / "a" / "spool" / "waiting").iterdir())
        summary = await scene.done(engine, batch)
        assert (summary.succeeded, len(provider.prompts)) == (ROWS, ROWS)
        assert await spooled_rows(engine) == 0
        assert await audit(engine) == []


@pytest.mark.parametrize(("policy", "calls"), [("retry", 2 * ROWS), ("refund", ROWS)])
async def test_a_machine_that_is_gone_for_good_is_not_waited_for_for_ever(
    scene: Scene, tmp_path: Path, policy: str, calls: int
) -> None:
    """After its time the result counts as one that was never seen, and the policy decides."""
    provider, clock = scene.provider, scene.clock
    batch = await scene.left(tmp_path / "a", policy)
    async with scene.machine(tmp_path / "b") as engine:
        await until(engine, clock, lambda states: states == ["waiting"] * ROWS)
        assert len(provider.prompts) == ROWS
        clock.step_wall(timedelta(hours=1).total_seconds())
        summary = await scene.done(engine, batch)
        assert len(provider.prompts) == calls
        assert summary.succeeded == (ROWS if policy == "retry" else 0)
        assert summary.repeats == calls - ROWS
        await Uploader(engine.database, engine.blobs, clock).tick()
        assert await spooled_rows(engine) == 0
        assert await audit(engine) == []


async def test_who_can_ask_again_for_nothing_does_not_wait(scene: Scene, tmp_path: Path) -> None:
    """A provider that honours keys is asked with the same key at once, by the other machine."""
    provider = scene.provider = Scripted(body_bytes=20_000, crash_class=CrashClass.KEYED)
    batch = await scene.left(tmp_path / "a")
    async with scene.machine(tmp_path / "b") as engine:
        summary = await scene.done(engine, batch)
        assert (summary.succeeded, summary.repeats) == (ROWS, 0)
        assert sorted(provider.keys) == sorted(2 * list(set(provider.keys)))
        assert await audit(engine) == []


async def test_a_cancelled_batch_delivers_what_is_bought(scene: Scene, tmp_path: Path) -> None:
    """A result that waits in the spool is delivered and billed, as any call in flight is."""
    provider = scene.provider
    batch = await scene.left(tmp_path)
    async with scene.machine(tmp_path) as engine:
        await engine.batch(batch.uuid).cancel()
        summary = await scene.done(engine, batch)
        assert (summary.succeeded, len(provider.prompts)) == (ROWS, ROWS)
        assert await spooled_rows(engine) == 0
        assert await audit(engine) == []


async def test_bytes_that_rotted_in_the_spool_are_never_delivered(
    scene: Scene, tmp_path: Path
) -> None:
    """A body without its hash is not sent: the result is lost, and that is counted."""
    provider = scene.provider
    batch = await scene.left(tmp_path)
    rotten = sorted((tmp_path / "spool" / "waiting").iterdir())[0]
    rotten.write_bytes(b"x" + rotten.read_bytes()[1:])
    async with scene.machine(tmp_path) as engine:
        summary = await scene.done(engine, batch)
        assert (summary.succeeded, summary.repeats) == (ROWS, 1)
        assert len(provider.prompts) == ROWS + 1
        assert len(await all_sound(engine, batch)) == ROWS
        assert await audit(engine) == []


async def test_what_nobody_waits_for_leaves_the_spool(scene: Scene, tmp_path: Path) -> None:
    """A body whose process died before it wrote it down goes after hours, not before."""
    clock = scene.clock
    async with scene.machine(tmp_path) as engine:
        outbox, stray = await stray_of(engine)
        uploader = Uploader(engine.database, engine.blobs, clock)
        await uploader.tick()
        path = outbox.path(stray.sha256)
        assert path.is_file()
        assert outbox.used_bytes == 20_000
        clock.step_wall(path.stat().st_mtime - clock.now().timestamp() + NOBODYS_S + 1)
        await uploader.tick()
        assert not path.exists()
        assert outbox.used_bytes == 0
        assert not await engine.blobs.exists(stray.sha256)
        async with engine.database.acquire() as connection:
            assert await spooled.waiting(connection) == []


async def test_bytes_that_come_anew_are_not_removed_with_old_ones(
    scene: Scene, tmp_path: Path
) -> None:
    """What nobody waited for, and is bought once more during the look, stays in the spool."""
    clock = scene.clock
    async with scene.machine(tmp_path) as engine:
        outbox, stray = await stray_of(engine)
        path, named = outbox.path(stray.sha256), spooled.named
        clock.step_wall(path.stat().st_mtime - clock.now().timestamp() + NOBODYS_S + 1)

        async def bought_meanwhile(connection: Any, sha256s: list[bytes]) -> list[Artifact]:
            os.utime(path, (clock.now().timestamp(),) * 2)
            return await named(connection, sha256s)

        scene.monkeypatch.setattr(spooled, "named", bought_meanwhile)
        await Uploader(engine.database, engine.blobs, clock).tick()
        assert path.is_file()


async def test_pictures_that_cannot_be_read_cost_no_try(scene: Scene, tmp_path: Path) -> None:
    """While the store is away, a stage with pictures waits however long; its lane stays open."""
    provider, tries = Painter(body_bytes=20_000), 0
    scene.provider = provider

    def go_away() -> None:
        nonlocal tries
        tries += 1
        scene.far.is_away = tries <= 24

    provider.before_reading = go_away
    async with scene.machine(tmp_path) as engine:
        again = {"name": "retouch", "prompt": "again {{ t }}", "sources": {"image": "previous"}}
        stages = [*RECIPE_STAGES, RECIPE_STAGES[0] | again]
        recipe = parse_recipe({"name": "two", "stages": stages}, "test")
        rows = [{"t": f"row {number}"} for number in range(ROWS)]
        batch = await engine.submit(rows, recipe, columns=["t"], terms=Terms(canary=0))
        summary = await moving(scene.clock, batch.done())
        assert [item.error async for item in batch.items()] == [None] * ROWS
        assert summary.succeeded == ROWS
        assert tries == 24 + ROWS
        assert len(provider.prompts) == 2 * ROWS
        assert await audit(engine) == []
