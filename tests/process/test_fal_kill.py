"""Killed -9 while jobs wait, run and are fetched from fal's queue: none is submitted twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.simulator.wire import Answer, Request
from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.fal_child import ITEMS

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]


class Watched(Simulator):
    """A simulator that can kill its client when it is asked for something."""

    kill: Callable[[], None] = staticmethod(lambda: None)
    when: Callable[[], bool] = staticmethod(lambda: False)

    def begin(self) -> None:
        """Forget what was asked for so far."""
        self.looked: set[str] = set()
        self.fetched: list[str] = []

    async def answer(self, request: Request) -> Answer | None:
        """Note what is asked for, and answer; a killed client gets what it gets."""
        if request.path.startswith("/fal-files/"):
            self.fetched.append(request.path)
        elif request.path.endswith("/status"):
            self.looked.add(request.path)
        if self.when():
            self.kill()
        return await super().answer(request)


@pytest.fixture
async def simulator() -> AsyncIterator[Watched]:
    """Films of three megabytes by eight at a time, each after a while."""
    latency = {"median_s": 1.2, "slots": 8}
    found = Watched(build_settings({"latency": latency, "output": {"film_bytes": 3_000_000}}))
    found.begin()
    await found.start(0)
    yield found
    await found.close()


async def run(simulator: Watched, home: Path, url: str, when: Callable[[], bool]) -> int:
    """Start a process, kill it once ``when`` holds; return how it ended."""
    environment = os.environ | {"HEADRACE_DATABASE_URL": url, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("FAL_KEY", None)
    simulator.begin()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.process.fal_child",
        str(home),
        f"{simulator.url}/fal",
        env=environment,
        cwd=ROOT,
    )

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)

    simulator.when, simulator.kill = when, kill
    try:
        return await asyncio.wait_for(child.wait(), 240)
    finally:
        simulator.when = lambda: False
        if child.returncode is None:
            kill()
            await child.wait()


async def test_jobs_are_followed_after_every_kill(
    simulator: Watched, database_url: str, tmp_path: Path
) -> None:
    """While they wait, while films come in: twelve jobs, twelve films.

    Two kills, for an item that is under way at three is taken for what kills its worker.
    """
    moments: list[Callable[[], bool]] = [
        lambda: len(simulator.looked) == ITEMS,
        lambda: len(simulator.fetched) >= 4,
    ]
    for when in moments:
        assert await run(simulator, tmp_path, database_url, when) == -signal.SIGKILL
    assert await run(simulator, tmp_path, database_url, lambda: False) == 0
    truth = simulator.truth.summary()
    assert (truth["requests"], truth["admitted"], truth["paid_twice"]) == (ITEMS, ITEMS, 0)
    connection = await asyncpg.connect(database_url)
    try:
        states = await connection.fetch("SELECT state, count(*) FROM item GROUP BY 1")
        assert {row["state"]: row["count"] for row in states} == {"succeeded": ITEMS}
        films = await connection.fetchval("SELECT count(DISTINCT outputs ->> 'film') FROM item")
        assert films == ITEMS
        assert await verify(connection) == []
    finally:
        await connection.close()
