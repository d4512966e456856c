"""A cancelled batch whose jobs run at a provider: they are stopped there, and settled in truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headrace.config import Config, Retry, Worker
from headrace.engine import Engine, open_engine
from headrace.recipe import Recipe, parse_recipe
from headrace.simulator.jobs import Jobs
from headrace.simulator.server import Simulator
from headrace.simulator.settings import LatencySettings, Settings
from headrace.simulator.wire import Answer, Request
from headrace.store import shards
from headrace.store.audit import verify
from headrace.testing import ManualClock
from headrace.watching import Batch

ROWS = 4
CALL_S = 60.0


class Api(NamedTuple):
    """A simulated API: where it lies and a model of it."""

    path: str
    model: str


APIS = {
    "replicate": Api("/v1", "acme/painter"),
    "fal": Api("/fal", "fal-ai/any"),
    "bfl": Api("", "flux-2-pro"),
}


class Provider(Simulator):
    """A simulator whose time stands still; ``just_before`` a job is stopped a test may act."""

    just_before: Callable[[str], None] = staticmethod(lambda job_id: None)
    refusals = 0

    @property
    def jobs(self) -> Jobs:
        """All jobs."""
        found: Jobs = self._shapes[0].jobs  # type: ignore[attr-defined]
        return found

    @property
    def endings(self) -> list[str]:
        """How each job ended, empty for one that runs."""
        return [job.ending for job in self.jobs.all.values()]

    def end(self, job_id: str) -> None:
        """Let a job end well now."""
        job = self.jobs.all[job_id]
        self.jobs._tasks.pop(job).cancel()
        self.jobs._end(job, "succeeded", paid=True)

    async def answer(self, request: Request) -> Answer | None:
        """Answer as ever, but for a cancel that a test refuses."""
        if request.path.endswith("/cancel"):
            self.just_before(request.path.split("/")[-2])
            if self.refusals:
                self.refusals -= 1
                return Answer(503, b"busy", media_type="text/plain")
        return await super().answer(request)


@asynccontextmanager
async def simulated(shape: str) -> AsyncIterator[Provider]:
    """Play a provider on which jobs run for ever."""
    settings = Settings(shapes=(shape,), latency=LatencySettings(median_s=30.0))
    simulator = Provider(settings, ManualClock())
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.close()


@asynccontextmanager
async def engine_at(
    simulator: Provider, database_url: str, home: Path, clock: ManualClock
) -> AsyncIterator[Engine]:
    """Open an engine whose calls end after a minute of its clock, tried again an hour later."""
    shape = simulator.settings.shapes[0]
    base = f"{simulator.url}{APIS[shape].path}"
    table = {"kind": shape, "base_url": base, "limits": {"requests_per_second": 1000}}
    config = Config(
        home=str(home),
        database_url=database_url,
        providers={"far": table},
        retry=Retry(attempts=3, base_s=3600.0, cap_s=3600.0),
        worker=Worker(call_timeout_s=CALL_S),
    )
    async with open_engine(config, clock=clock) as engine:
        ending = None
        try:
            yield engine
        finally:
            ending = asyncio.create_task(_run_on(clock))
        # The block's end waits for calls in flight: their time has to move.
    if ending is not None:
        ending.cancel()


async def _run_on(clock: ManualClock) -> None:
    while True:
        await clock.advance(1.0)
        await asyncio.sleep(0)


def recipe(simulator: Provider) -> Recipe:
    """One picture for each row."""
    model = f"far:{APIS[simulator.settings.shapes[0]].model}"
    stage = {"name": "make", "kind": "generate", "model": model, "prompt": "{{ t }}"}
    return parse_recipe({"name": "paint", "stages": [stage]}, "test")


async def submitted(
    engine: Engine, simulator: Provider, count: int = ROWS, name: str = "row"
) -> Batch:
    given = [{"t": f"{name} {number}"} for number in range(count)]
    return await engine.submit(given, recipe(simulator), columns=["t"])


async def moving(clock: ManualClock, work: Awaitable[Any], step_s: float = 0.5) -> Any:
    """What ``work`` gives, while time goes by."""
    task = asyncio.ensure_future(work)
    for _ in range(4000):
        await clock.advance(step_s)
        await asyncio.wait({task}, timeout=0.005)
        if task.done():
            return task.result()
    task.cancel()
    raise AssertionError("it never ended")


async def accepted(engine: Engine, count: int) -> None:
    """Wait until so many attempts have their provider's id written."""
    sql = "SELECT count(*) FROM attempt WHERE state = 'accepted'"
    async with engine.database.acquire() as connection:
        while await connection.fetchval(sql) < count:
            await asyncio.sleep(0)


async def audit(engine: Engine) -> list[str]:
    async with engine.database.acquire() as connection:
        return await verify(connection)


async def attempts(engine: Engine) -> list[tuple[str, str | None, int | None]]:
    async with engine.database.acquire() as connection:
        rows = await connection.fetch(
            "SELECT state, outcome, cost_microusd FROM attempt ORDER BY idx, number"
        )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("shape", ["replicate", "fal"])
async def test_jobs_of_a_cancelled_batch_are_stopped_and_refunded(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """Cancel is acknowledged at once; then every job is stopped, and nobody is charged."""
    clock = ManualClock()
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, tmp_path, clock) as engine,
    ):
        batch = await submitted(engine, simulator)
        await moving(clock, accepted(engine, ROWS), 0.05)
        # No time goes by during the acknowledgement, so nothing far away is waited for.
        assert await batch.cancel() == 0
        assert simulator.endings == [""] * ROWS
        simulator.refusals = 1
        summary = await moving(clock, batch.done())
        assert simulator.endings == ["canceled"] * ROWS
        assert (summary.state, summary.cancelled) == ("cancelled", ROWS)
        assert summary.spent_microcredits == 0
        assert {outcome for _, outcome, _ in await attempts(engine)} == {"cancelled"}
        assert simulator.truth.total == ROWS
        assert await audit(engine) == []


@pytest.mark.parametrize("shape", ["replicate", "fal"])
async def test_a_job_that_ends_before_it_is_stopped_is_delivered(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """Half of the jobs end while the word to stop them is on its way: those are delivered."""
    clock = ManualClock()
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, tmp_path, clock) as engine,
    ):
        batch = await submitted(engine, simulator)
        await moving(clock, accepted(engine, ROWS), 0.05)
        quick = list(simulator.jobs.all)[::2]

        def end_first(job_id: str) -> None:
            if job_id in quick:
                simulator.end(job_id)

        simulator.just_before = end_first
        await batch.cancel()
        summary = await moving(clock, batch.done())
        assert (summary.state, summary.succeeded, summary.cancelled) == ("cancelled", 2, 2)
        assert sorted(simulator.endings) == ["canceled", "canceled", "succeeded", "succeeded"]
        assert await audit(engine) == []


async def test_whoever_cancels_the_followers_stop_their_jobs(
    database_url: str, tmp_path: Path
) -> None:
    """Two engines follow jobs, one of them is told to cancel: the jobs of both are stopped."""
    clock = ManualClock()
    async with (
        simulated("replicate") as simulator,
        engine_at(simulator, database_url, tmp_path / "a", clock) as one,
        engine_at(simulator, database_url, tmp_path / "b", clock) as other,
    ):
        batches = [await submitted(one, simulator, 1, f"b{number}") for number in range(6)]
        await moving(clock, accepted(one, 6), 0.05)
        for batch in batches:
            await other.batch(batch.uuid).cancel()
        for batch in batches:
            summary = await moving(clock, batch.done())
            assert (summary.state, summary.cancelled) == ("cancelled", 1)
        assert set(simulator.endings) == {"canceled"}
        assert await audit(one) == []


@pytest.mark.parametrize("shape", ["replicate", "fal", "bfl"])
async def test_the_next_follower_stops_what_a_dead_one_left(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """Cancelled while nobody follows: who takes the shard stops the jobs, where that can be."""
    frozen, clock = ManualClock(), ManualClock()
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, tmp_path / "a", frozen) as dead,
        engine_at(simulator, database_url, tmp_path / "b", clock) as live,
    ):
        batch = await submitted(dead, simulator, 1)
        both = asyncio.gather(*(moving(one, accepted(dead, 1), 0.05) for one in (frozen, clock)))
        await both
        async with live.database.transaction() as connection:
            shard_id = await connection.fetchval("SELECT id FROM shard")
            claim = await shards.claim(connection, shard_id, live.worker.id)
        assert claim is not None
        await live.batch(batch.uuid).cancel()
        if shape == "bfl":
            simulator.end(next(iter(simulator.jobs.all)))
        await moving(clock, live.worker.work(claim))
        summary = await moving(clock, live.batch(batch.uuid).done())
        assert summary.state == "cancelled"
        ended = (summary.cancelled, summary.succeeded)
        assert ended == ((0, 1) if shape == "bfl" else (1, 0))
        assert simulator.endings == ["succeeded" if shape == "bfl" else "canceled"]
        assert len(await attempts(live)) == 1, "nothing starts for a cancelled batch"
        assert await audit(live) == []


@pytest.mark.parametrize("shape", ["replicate", "fal"])
async def test_a_job_of_an_item_that_waits_is_stopped_too(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """A job that was not done in time rests until the next look: a cancel does not forget it."""
    clock = ManualClock()
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, tmp_path, clock) as engine,
    ):
        batch = await submitted(engine, simulator)

        async def resting() -> None:
            while (await batch.summary()).waiting < ROWS:
                await asyncio.sleep(0)

        await moving(clock, accepted(engine, ROWS), 0.05)
        await moving(clock, resting())
        assert simulator.endings == [""] * ROWS
        assert await batch.cancel() == 0
        summary = await moving(clock, batch.done())
        assert (summary.state, summary.cancelled) == ("cancelled", ROWS)
        assert simulator.endings == ["canceled"] * ROWS
        assert len(await attempts(engine)) == ROWS
        assert await audit(engine) == []


async def test_what_a_dead_worker_left_in_a_paused_batch_ends_when_that_is_cancelled(
    database_url: str, tmp_path: Path
) -> None:
    """A shard that was parked with a job under way is opened for its end."""
    frozen, clock = ManualClock(), ManualClock()
    async with (
        simulated("replicate") as simulator,
        engine_at(simulator, database_url, tmp_path / "a", frozen) as dead,
        engine_at(simulator, database_url, tmp_path / "b", clock) as live,
    ):
        batch = await submitted(dead, simulator, 1)
        await asyncio.gather(*(moving(one, accepted(dead, 1), 0.05) for one in (frozen, clock)))
        await live.batch(batch.uuid).pause()
        async with live.database.transaction() as connection:
            shard_id = await connection.fetchval("SELECT id FROM shard")
            claim = await shards.claim(connection, shard_id, live.worker.id)
        assert claim is not None
        await moving(clock, live.worker.work(claim))
        async with live.database.acquire() as connection:
            assert await connection.fetchval("SELECT state FROM shard") == "parked"
        await live.batch(batch.uuid).cancel()
        summary = await moving(clock, live.batch(batch.uuid).done())
        assert (summary.state, summary.cancelled) == ("cancelled", 1)
        assert simulator.endings == ["canceled"]
        assert await audit(live) == []
