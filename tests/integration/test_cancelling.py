"""A cancelled batch whose jobs run at a provider: they are stopped there, and settled in truth."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headrace.testing import ManualClock
from tests.integration.far_jobs import (
    ROWS,
    accepted,
    at_work,
    attempts,
    audit,
    engine_at,
    left_alone,
    moving,
    simulated,
    submitted,
)


@pytest.mark.parametrize("shape", ["replicate", "fal"])
async def test_jobs_of_a_cancelled_batch_are_stopped_and_refunded(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """Cancel is acknowledged at once; then every job is stopped, and nobody is charged."""
    clock = ManualClock()
    async with at_work(shape, database_url, tmp_path, clock) as (simulator, engine, batch):
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
    async with at_work(shape, database_url, tmp_path, clock) as (simulator, engine, batch):
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
    async with left_alone(shape, database_url, tmp_path, 1) as left:
        live, batch, simulator, clock = left.live, left.batch, left.simulator, left.clock
        (claim,) = await left.claims()
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
    async with at_work(shape, database_url, tmp_path, clock) as (simulator, engine, batch):

        async def resting() -> None:
            while (await batch.summary()).waiting < ROWS:
                await asyncio.sleep(0)

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
    async with left_alone("replicate", database_url, tmp_path, 1) as left:
        dead, live, batch, clock = left.dead, left.live, left.batch, left.clock
        # A dead one takes no job that comes later, or its frozen walk would be joined.
        assert dead.worker._queue is not None
        dead.worker._stopping.set()
        await dead.worker._queue.abandon()
        await live.batch(batch.uuid).pause()
        (claim,) = await left.claims()
        await moving(clock, live.worker.work(claim))
        async with live.database.acquire() as connection:
            assert await connection.fetchval("SELECT state FROM shard") == "parked"
        await live.batch(batch.uuid).cancel()
        summary = await moving(clock, live.batch(batch.uuid).done())
        assert (summary.state, summary.cancelled) == ("cancelled", 1)
        assert left.simulator.endings == ["canceled"]
        assert await audit(live) == []
