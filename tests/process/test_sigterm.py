"""Workers that are told to end: by SIGTERM under load, and by SIGKILL when that takes too long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.store.audit import verify
from headrace.submission import Terms
from tests.integration.conftest import database_url, scratch, server, template

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
ROWS = 60
WITHIN_S = 120.0
RECIPE = {
    "name": "drained",
    "columns": {"required": ["t"]},
    "stages": [{"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ t }}"}],
}


class Workers:
    """Worker processes on one database, and what their provider saw."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.all: list[subprocess.Popen[str]] = []

    def table(self, latency_s: float) -> dict[str, Any]:
        """The provider's settings: it honours keys, so that a call can be sent again."""
        return {
            "crash_class": "A", "latency_s": latency_s, "concurrency": 8,
            "cost_microusd": 40_000, "price_microcredits": 1_000_000,
            "log_path": str(self.folder / "calls.jsonl"),
        }  # fmt: skip

    def start(self, latency_s: float) -> subprocess.Popen[str]:
        """Start a worker and wait until it works."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.table(latency_s).items()]
        text = "\n".join(["[providers.simulated]", *lines])
        (self.folder / "headrace.toml").write_text(text)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
        environment |= {"HEADRACE_DATABASE_URL": self.url, "HOME": str(self.folder)}
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "worker", "--json"],
            cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.all.append(process)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["worker"]
        return process

    async def submit(self) -> None:
        """Submit the batch without working on it."""
        config = Config(
            home=str(self.folder / ".headrace"), database_url=self.url,
            providers={"simulated": self.table(0.0)},
        )  # fmt: skip
        async with open_engine(config, work=False) as engine:
            rows = [{"t": f"row {number}"} for number in range(ROWS)]
            await engine.submit(rows, parse_recipe(RECIPE, "drained"), terms=Terms(canary=0))

    async def value(self, sql: str) -> Any:
        """One value from the database."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    async def until(self, sql: str, least: int) -> None:
        """Wait until a number in the database is at least so much."""
        until_s = time.monotonic() + WITHIN_S
        while (now := await self.value(sql)) < least:
            assert time.monotonic() < until_s, f"{now} after {WITHIN_S} s: {sql}"
            time.sleep(0.05)

    async def all_is_well(self) -> None:
        """Every row was delivered, nothing was paid twice, and the books add up."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        paid = Counter(one["fingerprint"] for one in map(json.loads, lines) if one.get("paid"))
        assert (len(paid), set(paid.values())) == (ROWS, {1})
        assert await self.value(SUCCEEDED) == ROWS
        connection = await asyncpg.connect(self.url)
        try:
            assert await verify(connection) == []
        finally:
            await connection.close()


STARTED = "SELECT count(*) FROM attempt"
OPEN = "SELECT count(*) FROM attempt WHERE ended_at IS NULL"
SUCCEEDED = "SELECT count(*) FROM item WHERE state = 'succeeded'"


@pytest.fixture
def workers(tmp_path: Path, database_url: str) -> Iterator[Workers]:
    """Workers, ended when the test is over."""
    made = Workers(tmp_path, database_url)
    yield made
    for process in made.all:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


async def test_sigterm_under_load_starts_nothing_more_and_finishes(workers: Workers) -> None:
    """Nothing starts a second after SIGTERM, calls under way end, exit 0; another goes on."""
    await workers.submit()
    first = workers.start(latency_s=2.0)
    await workers.until(STARTED, 12)
    first.terminate()
    time.sleep(1.0)
    assert first.poll() is None, "calls are under way"
    started = await workers.value(STARTED)
    _, complaints = first.communicate(timeout=30)
    assert first.returncode == 0, complaints
    assert await workers.value(STARTED) == started
    assert await workers.value(OPEN) == 0
    assert await workers.value(SUCCEEDED) == started < ROWS
    workers.start(latency_s=0.01)
    await workers.until(SUCCEEDED, ROWS)
    await workers.all_is_well()


async def test_sigkill_at_the_drain_limit_loses_nothing(workers: Workers) -> None:
    """A worker that is killed while it drains leaves its calls to another, paid once."""
    await workers.submit()
    first = workers.start(latency_s=10.0)
    await workers.until(OPEN, 6)
    first.terminate()
    time.sleep(1.5)
    assert first.poll() is None, "it waits for its calls"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    workers.start(latency_s=0.01)
    await workers.until(SUCCEEDED, ROWS)
    await workers.all_is_well()
