"""Jobs that are known at their provider are followed at once after a crash, beside all others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headrace.store import shards
from headrace.testing import ManualClock
from tests.integration.far_jobs import (
    ROWS,
    FarProvider,
    accepted,
    audit,
    engine_at,
    moving,
    simulated,
    submitted,
)


@pytest.mark.parametrize("shape", ["bfl", "replicate"])
async def test_all_jobs_that_a_dead_worker_followed_are_looked_at_at_once(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """None stands behind another: each is looked at while all of them still run."""
    frozen, clock = ManualClock(), ManualClock()
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, tmp_path / "a", frozen) as dead,
        engine_at(simulator, database_url, tmp_path / "b", clock) as live,
    ):
        batch = await submitted(dead, simulator)
        await asyncio.gather(*(moving(one, accepted(dead, ROWS), 0.05) for one in (frozen, clock)))
        async with live.database.transaction() as connection:
            rows = await connection.fetch("SELECT id FROM shard WHERE state = 'open'")
            claims = [await shards.claim(connection, row["id"], live.worker.id) for row in rows]
            assert await connection.fetchval("SELECT min(crashes) FROM item") == 1
        simulator.looked.clear()
        working = asyncio.gather(*(live.worker.work(claim) for claim in claims if claim))
        await moving(clock, _looked(simulator))
        assert simulator.endings == [""] * ROWS
        for job_id in list(simulator.jobs.all):
            simulator.end(job_id)
        await moving(clock, working)
        # Should the dead one have got a shard back meanwhile, its time has to go by, too.
        ended = (moving(clock, live.batch(batch.uuid).done()), moving(frozen, batch.done()))
        summary, _ = await asyncio.gather(*ended)
        assert summary.succeeded == ROWS
        assert simulator.truth.total == ROWS
        assert await audit(live) == []


async def _looked(simulator: FarProvider) -> None:
    while len(simulator.looked) < ROWS:
        await asyncio.sleep(0)
