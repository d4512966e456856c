"""Peak memory: a million rows in and through, and images of some MB at a concurrency of twelve."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.throughput import bench_config, engine_at, run_batch
from headrace.config import Config

MIB = 1024 * 1024


@dataclass
class Peak:
    """The largest memory seen, in MiB: of this process, and of it with the database's processes.

    The sum counts shared pages once (proportional set size).
    """

    own_mib: float = 0.0
    all_mib: float = 0.0
    base_mib: float = 0.0


def _pss_mib(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(process.memory_full_info().pss) / MIB
    return 0.0


@contextlib.asynccontextmanager
async def watched(peak: Peak, server_pid: int | None) -> AsyncIterator[None]:
    """Sample the memory while the block runs."""
    own = psutil.Process(os.getpid())
    peak.base_mib = own.memory_info().rss / MIB

    async def sample() -> None:
        while True:
            peak.own_mib = max(peak.own_mib, own.memory_info().rss / MIB)
            family = [own]
            if server_pid is not None:
                with contextlib.suppress(psutil.Error):
                    server = psutil.Process(server_pid)
                    family += [server, *server.children()]
            peak.all_mib = max(peak.all_mib, sum(_pss_mib(process) for process in family))
            await asyncio.sleep(0.5)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()


def _server_pid(home: Path) -> int | None:
    path = next(home.glob("**/postmaster.pid"), None)
    return int(path.read_text().splitlines()[0]) if path is not None else None


async def rows(home: Path, items: int) -> tuple[Peak, dict[str, float]]:
    """Submit and run a batch of ``items`` rows; return the peak and the rates."""
    peak = Peak()
    async with engine_at(bench_config(home)) as engine, watched(peak, _server_pid(home)):
        rates = await run_batch(engine, items, "memory", "reuse")
    return peak, rates


async def images(home: Path, items: int, body_bytes: int) -> tuple[Peak, dict[str, float]]:
    """Run ``items`` simulated images of ``body_bytes`` at concurrency 12; return the peak."""
    table = {"body": "image", "body_bytes": body_bytes, "concurrency": 12, "price_microcredits": 1}
    config = Config(home=str(home), providers={"simulated": table})
    peak = Peak()
    async with engine_at(config) as engine, watched(peak, _server_pid(home)):
        rates = await run_batch(engine, items, "image", "off")
    return peak, rates
