"""Jobs that are known at their provider are followed at once after a crash, beside all others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.far_jobs import (
    ROWS,
    FarProvider,
    audit,
    left_alone,
    moving,
)


@pytest.mark.parametrize("shape", ["bfl", "replicate"])
async def test_all_jobs_that_a_dead_worker_followed_are_looked_at_at_once(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """None stands behind another: each is looked at while all of them still run."""
    async with left_alone(shape, database_url, tmp_path, ROWS) as left:
        live, batch, simulator, clock = left.live, left.batch, left.simulator, left.clock
        claims = await left.claims()
        async with live.database.acquire() as connection:
            assert await connection.fetchval("SELECT min(crashes) FROM item") == 1
        simulator.looked.clear()
        working = asyncio.gather(*(live.worker.work(claim) for claim in claims))
        await moving(clock, _looked(simulator))
        assert simulator.endings == [""] * ROWS
        for job_id in list(simulator.jobs.all):
            simulator.end(job_id)
        await moving(clock, working)
        # Should the dead one have got a shard back meanwhile, its time has to go by, too.
        ended = (moving(clock, live.batch(batch.uuid).done()), moving(left.frozen, batch.done()))
        summary, _ = await asyncio.gather(*ended)
        assert summary.succeeded == ROWS
        assert simulator.truth.total == ROWS
        assert await audit(live) == []


async def _looked(simulator: FarProvider) -> None:
    while len(simulator.looked) < ROWS:
        await asyncio.sleep(0)
