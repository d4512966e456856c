"""Workers as processes on one database, a batch submitted to them, and what is left at the end."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg

from headrace.config import load_config
from headrace.engine import open_engine
from headrace.store.audit import verify
from headrace.submission import Terms
from tests.process.terminal import SOURCES, Terminal

WIDTH = 8
"""Calls that the provider of a fleet bears at a time."""


class Fleet(Terminal):
    """A folder with settings, the database that its workers share, and the workers."""

    def __init__(self, folder: Path, url: str, latency_s: float, **environment: str) -> None:
        super().__init__(folder, **({"HEADRACE_DATABASE_URL": url} | environment))
        self.url = url
        self.answers_after(latency_s)

    def answers_after(self, latency_s: float) -> None:
        """Let calls take so long, of workers that are started from now on."""
        self.provider(latency_s, WIDTH)

    def worker(self, *words: str, sources: Path = SOURCES) -> subprocess.Popen[str]:
        """Start a worker, of the release in ``sources``; returns when it works."""
        # Into a file: a pipe that nobody empties would hold up who has much to complain about.
        with self._complaints(len(self.processes)).open("w") as complaints:
            process = self.start("worker", *words, stderr=complaints, sources=sources)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "works on" in said, self.complaints(process)
        return process

    def complaints(self, process: subprocess.Popen[str]) -> str:
        """What a worker has written to its standard error."""
        return self._complaints(self.processes.index(process)).read_text()

    def _complaints(self, number: int) -> Path:
        return self.folder / f"worker-{number}.err"

    def submit(self, count: int, first: int = 0) -> str:
        """Submit a batch, rows named from ``first`` on, without working on it; returns its id."""

        async def work() -> str:
            told = {"HEADRACE_DATABASE_URL": self.url}
            config = load_config(
                self.folder / "headrace.toml",
                environment=told,
                flags={"home": str(self.folder / ".headrace")},
            )
            rows = ({"title": f"row {number}"} for number in range(first, first + count))
            async with open_engine(config, work=False) as engine:
                recipe = engine.recipe(str(self.folder / "recipe.toml"))
                batch = await engine.submit(rows, recipe, columns=["title"], terms=Terms(canary=0))
                return str(batch.id)

        return asyncio.run(work())

    def ask(self, sql: str) -> list[Any]:
        """Ask the database."""

        async def work() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                return [dict(row) for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        return asyncio.run(work())

    def until_done(self, count: int) -> None:
        """Wait until all items are delivered."""
        sql = "SELECT count(*) AS made FROM item WHERE state = 'succeeded'"
        self.until(lambda: self.ask(sql)[0]["made"] == count, "all is delivered")

    def all_is_well(self, count: int) -> None:
        """Every row is delivered, none was paid twice, nobody is blamed, the books add up."""
        self.each_is_paid_once(count)

        async def work() -> list[str]:
            connection = await asyncpg.connect(self.url)
            try:
                return await verify(connection)
            finally:
                await connection.close()

        assert asyncio.run(work()) == []
