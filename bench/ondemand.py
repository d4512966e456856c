"""What a cache hit on demand takes over HTTP: server and client over loopback.

python -m bench.ondemand              2,000 hits of each kind, one after the other
python -m bench.ondemand --profile    where the server's time goes

Server and client share a process, so each hit pays for both; the client waits for each answer,
as the caller of a page would. The database is embedded, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench.throughput import loop_run
from headrace.access import Scope
from headrace.config import Config
from headrace.engine import open_engine
from headrace.http.app import build_app
from headrace.http.server import listen, serve
from headrace.store import keys

MOST_MS = 5.0
IMAGE_BYTES = 60_000
"""Above what rests in the database, so that a hit reads the blob store, too."""

_SAID = {"messages": [{"role": "user", "content": "Hi"}]}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "texts:m", **_SAID}),
    "response": ("/v1/responses", {"model": "texts:m", "input": "Hi"}),
    "image of 60 kB": ("/v1/images/generations", {"model": "images:m", "prompt": "a mill"}),
    "native": ("/api/generate", {"model": "texts:m", "prompt": "Hi"}),
}


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[str, str]]:
    """Serve an engine; give its address and a key."""
    providers = {
        "texts": {"kind": "simulated", "latency_s": 0.0},
        "images": {"kind": "simulated", "latency_s": 0.0, "body_bytes": IMAGE_BYTES},
    }
    async with open_engine(Config(home=str(home), providers=providers)) as engine:
        async with engine.database.transaction() as connection:
            secret, _ = await keys.make(
                connection, "default", "bench", Scope.SUBMIT, engine.clock.now()
            )
        listening, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(serve(build_app(engine), listening, stop, ready.set))
        await ready.wait()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", secret
        stop.set()
        await serving


async def hits_ms(http: aiohttp.ClientSession, url: str, body: Any, tries: int) -> list[float]:
    """Return how long each of ``tries`` hits took, in milliseconds; the first call buys."""
    times = []
    for number in range(tries + 1):
        began_s = time.perf_counter()
        async with http.post(url, json=body) as answer:
            await answer.read()
            assert answer.status == 200, await answer.text()
        if number:
            assert answer.headers["X-Headrace-Cache"] == "hit"
            times.append((time.perf_counter() - began_s) * 1000)
    return times


async def measure(tries: int) -> dict[str, list[float]]:
    """Return the times of each kind of hit."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        async with (
            served(Path(folder)) as (url, secret),
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as http,
        ):
            return {
                name: await hits_ms(http, url + path, body, tries)
                for name, (path, body) in KINDS.items()
            }


def table(tries: int) -> list[str]:
    """Measure and return the lines that tell it."""
    seen = loop_run(measure(tries))
    lines = [
        f"{tries:,} cache hits of each kind over HTTP, one after the other, server, client and "
        "database on one machine.",
        "",
        "| answer | median | 95 of 100 within | target (median) |",
        "|---|---|---|---|",
    ]
    for name, times in seen.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        lines.append(
            f"| {name} | {statistics.median(times):.2f} ms | {p95:.2f} ms | ≤ {MOST_MS:g} ms |"
        )
    return lines


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=2_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        profile = cProfile.Profile()
        profile.enable()
        asyncio.run(measure(options.tries))
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return 0
    print("\n".join(table(options.tries)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
