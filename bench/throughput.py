"""Items per second, end to end and durable: submit, walk, cached, on demand; cost by batch size."""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace.cli.heap import settle_heap
from headrace.config import Config, Worker
from headrace.engine import Engine, open_engine
from headrace.recipe import parse_recipe
from headrace.submission import Terms

RECIPE = {
    "name": "bench",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ prompt }}"},
        {"name": "name", "kind": "write", "file": "{{ prompt }}"},
    ],
}


def bench_config(home: Path) -> Config:
    """Return a configuration with a provider of zero latency that has a price."""
    table: dict[str, Any] = {
        "price_microcredits": 1_000_000,
        "cost_microusd": 40_000,
        "concurrency": 512,
    }
    return Config(home=str(home), providers={"simulated": table}, worker=Worker())


@asynccontextmanager
async def engine_at(config: Config) -> AsyncIterator[Engine]:
    """Open an engine as commands do: the collector of cycles set for work that lasts."""
    async with open_engine(config) as engine:
        settle_heap()
        yield engine


async def run_batch(engine: Engine, items: int, salt: str, cache: str) -> dict[str, float]:
    """Submit and finish one batch; return rates per second and CPU seconds of this process."""
    rows = ({"prompt": f"{salt} {number}"} for number in range(items))
    recipe = parse_recipe(RECIPE, "bench")
    gc.collect()
    cpu_s = _cpu_s()
    started_s = time.perf_counter()
    terms = Terms(name="bench", cache=cache, canary=0)
    batch = await engine.submit(rows, recipe, columns=["prompt"], terms=terms)
    submitted_s = time.perf_counter()
    summary = await batch.done()
    ended_s = time.perf_counter()
    if summary.succeeded != items:
        raise RuntimeError(f"{summary.succeeded} of {items} succeeded")
    return {
        "submit_rows_per_s": items / (submitted_s - started_s),
        "items_per_s": items / (ended_s - submitted_s),
        "cpu_us_per_item": (_cpu_s() - cpu_s) / items * 1e6,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def on_demand_hit_ms(engine: Engine, tries: int = 500) -> float:
    """Return the median time of a cache hit on demand, in milliseconds."""
    await engine.generate("simulated:m", "a warm prompt")
    times = []
    for _ in range(tries):
        started_s = time.perf_counter()
        await engine.generate("simulated:m", "a warm prompt")
        times.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(times)


async def measure(home: Path, items: int, rounds: int) -> dict[str, float]:
    """Return the medians over ``rounds`` of a fresh and a cached batch of ``items``."""
    fresh, cached = [], []
    async with engine_at(bench_config(home)) as engine:
        for number in range(rounds):
            fresh.append(await run_batch(engine, items, f"round {number}", "reuse"))
            cached.append(await run_batch(engine, items, f"round {number}", "reuse"))
        hit_ms = await on_demand_hit_ms(engine)
    return {
        "submit_rows_per_s": statistics.median(run["submit_rows_per_s"] for run in fresh),
        "items_per_s": statistics.median(run["items_per_s"] for run in fresh),
        "cpu_us_per_item": statistics.median(run["cpu_us_per_item"] for run in fresh),
        "cached_items_per_s": statistics.median(run["items_per_s"] for run in cached),
        "on_demand_hit_ms": hit_ms,
    }


async def by_size(home: Path, sizes: list[int]) -> dict[int, float]:
    """Return the wall microseconds per item for batches of growing size."""
    cost: dict[int, float] = {}
    async with engine_at(bench_config(home)) as engine:
        for size in sizes:
            rates = await run_batch(engine, size, f"size {size}", "reuse")
            cost[size] = 1e6 / rates["items_per_s"] + 1e6 / rates["submit_rows_per_s"]
    return cost


def loop_run(work: Any) -> Any:
    """Run ``work`` on the event loop that the command line uses."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
