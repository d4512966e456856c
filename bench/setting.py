"""What the benchmarks share: fresh databases on a server, and a configured simulated provider."""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from headrace.config import Config, Worker


def simulated_log(home: Path) -> Path:
    """Return where the simulated provider of ``home`` logs the calls it received."""
    return home / "provider.jsonl"


def simulated_config(home: Path, crash_class: str, **more: Any) -> Config:
    """Return a configuration with a simulated provider that remembers every call."""
    table: dict[str, Any] = {
        "crash_class": crash_class,
        "latency_s": 0.005,
        "price_microcredits": 1_000_000,
        "cost_microusd": 40_000,
        "concurrency": 32,
        "log_path": str(simulated_log(home)),
        # Above what rests inline in the database, so that the blob store is on the way too.
        "body_bytes": 10_000,
    }
    return Config(
        home=str(home),
        database_url=os.environ.get("HEADRACE_DATABASE_URL"),
        worker=Worker(heartbeat_s=10.0),
        providers={"simulated": table | more},
    )


async def fresh_database(server_url: str) -> tuple[str, Callable[[], Awaitable[None]]]:
    """Make an empty database beside the one of ``server_url``; return its URL and its drop."""
    name = "bench_" + uuid.uuid4().hex[:12]
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    finally:
        await admin.close()

    async def drop() -> None:
        connection = await asyncpg.connect(server_url)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    return of_database(server_url, name), drop


def of_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server, its query kept."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
