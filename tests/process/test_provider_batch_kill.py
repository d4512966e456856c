"""Killed -9 at each step of a provider batch: it is gone on with, and nothing is bought twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from headrace.simulator.server import Simulator
from headrace.simulator.settings import BatchSettings, LatencySettings, Settings
from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.provider_batch_child import ITEMS, QuickClock

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process

SETTINGS = Settings(
    shapes=("openai",),
    latency=LatencySettings(median_s=0.01),
    batches=BatchSettings(duration_s=30.0, expires_share=0.2),
)
POINTS = (
    "line-before-commit:2",
    "line-after-commit",
    "lines-gathered",
    "lines-uploaded",
    "batch-before-create",
    "batch-after-create",
    "batch-created",
    "answers-before-commit",
    "settle-after-commit:2",
)


async def worked(url: str, home: Path, sim: Simulator, begun_s: float, crash_at: str = "") -> int:
    """Run the child to its end; returns how it ended."""
    environment = os.environ | {"HEADRACE_DATABASE_URL": url, "HEADRACE_CRASH_AT": crash_at}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.process.provider_batch_child", str(home), sim.url,
        str(begun_s), env=environment,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, err = await asyncio.wait_for(child.communicate(), 240)
    except TimeoutError:
        child.kill()
        await child.communicate()
        raise
    assert child.returncode in (0, -signal.SIGKILL), err.decode()[-2000:]
    return child.returncode


@pytest.mark.parametrize("crash_at", POINTS)
async def test_a_kill_at_any_step_pays_no_line_twice(
    database_url: str, tmp_path: Path, crash_at: str
) -> None:
    """Killed there and resumed, every item is delivered and the provider was paid once for each."""
    begun_s = time.time()
    simulator = Simulator(SETTINGS, QuickClock(begun_s))
    await simulator.start()
    try:
        assert await worked(database_url, tmp_path, simulator, begun_s, crash_at) == -signal.SIGKILL
        assert await worked(database_url, tmp_path, simulator, begun_s) == 0
    finally:
        await simulator.close()
    connection = await asyncpg.connect(database_url)
    try:
        states = await connection.fetch("SELECT state, count(*) AS items FROM item GROUP BY 1")
        findings = await verify(connection)
    finally:
        await connection.close()
    assert {row["state"]: row["items"] for row in states} == {"succeeded": ITEMS}
    assert findings == []
    paid = [call for call in simulator.truth.calls if call.paid]
    assert len(paid) == ITEMS, "one purchase for each item, in a provider batch or by a call"
    assert simulator.truth.summary()["paid_twice"] == 0
