"""Workers as processes on one database, a batch submitted to them, and what is left at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg

from headrace.config import load_config
from headrace.engine import open_engine
from headrace.store.audit import verify
from headrace.submission import Terms

ROOT = Path(__file__).parents[2]
RECIPE = """
[columns]
required = ["title"]
[[stages]]
name = "make"
kind = "generate"
model = "simulated:any"
prompt = "{{ title }}"
"""
SETTINGS = """
[worker]
shard_items_max = 20
[retry]
base_s = 0.0
cap_s = 0.1
[providers.simulated]
crash_class = "A"
latency_s = {latency_s}
concurrency = 8
cost_microusd = 40000
price_microcredits = 1000000
log_path = "{folder}/calls.jsonl"
"""


class Fleet:
    """A folder with settings, the database that its workers share, and the workers."""

    def __init__(self, folder: Path, url: str, latency_s: float, **environment: str) -> None:
        self.folder = folder
        self.url = url
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(folder),
            "HEADRACE_DATABASE_URL": url,
            **environment,
        }
        self.workers: list[subprocess.Popen[str]] = []
        self.answers_after(latency_s)
        (folder / "recipe.toml").write_text(RECIPE)

    def answers_after(self, latency_s: float) -> None:
        """Let calls take so long, of workers that are started from now on."""
        settings = SETTINGS.format(latency_s=latency_s, folder=self.folder)
        (self.folder / "headrace.toml").write_text(settings)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of headrace to its end."""
        return subprocess.run(
            [sys.executable, "-m", "headrace", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def worker(self, *words: str) -> subprocess.Popen[str]:
        """Start a worker; returns when it works."""
        # Into a file: a pipe that nobody empties would hold up who has much to complain about.
        with self._complaints(len(self.workers)).open("w") as complaints:
            process = subprocess.Popen(
                [sys.executable, "-m", "headrace", "worker", *words],
                cwd=self.folder, env=self.environment, text=True,
                stdout=subprocess.PIPE, stderr=complaints,
            )  # fmt: skip
        self.workers.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "works on" in said, self.complaints(process)
        return process

    def complaints(self, process: subprocess.Popen[str]) -> str:
        """What a worker has written to its standard error."""
        return self._complaints(self.workers.index(process)).read_text()

    def _complaints(self, number: int) -> Path:
        return self.folder / f"worker-{number}.err"

    def submit(self, count: int) -> str:
        """Submit a batch without working on it; returns its id."""

        async def work() -> str:
            told = {"HEADRACE_DATABASE_URL": self.url}
            config = load_config(
                self.folder / "headrace.toml",
                environment=told,
                flags={"home": str(self.folder / ".headrace")},
            )
            rows = ({"title": f"row {number}"} for number in range(count))
            async with open_engine(config, work=False) as engine:
                recipe = engine.recipe(str(self.folder / "recipe.toml"))
                batch = await engine.submit(rows, recipe, columns=["title"], terms=Terms(canary=0))
                return str(batch.id)

        return asyncio.run(work())

    def calls(self) -> list[dict[str, Any]]:
        """What the provider saw."""
        log = self.folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def until_calls(self, count: int) -> None:
        """Wait until the provider has seen so many calls."""
        self.until(lambda: len(self.calls()) >= count, f"{count} calls")

    def until(self, true: Any, what: str, seconds: float = 120.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if true():
                return
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s: {what}")

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
        self.until(lambda: self.ask(sql)[0]["made"] == count, "all is delivered", 240.0)

    def all_is_well(self, count: int) -> None:
        """Every row is delivered, none was paid twice, nobody is blamed, the books add up."""
        paid = Counter(call["fingerprint"] for call in self.calls() if call.get("paid"))
        assert len(paid) == count
        assert set(paid.values()) == {1}

        async def work() -> list[str]:
            connection = await asyncpg.connect(self.url)
            try:
                return await verify(connection)
            finally:
                await connection.close()

        assert asyncio.run(work()) == []

    def close(self) -> None:
        """End the workers that still run."""
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
