"""headrace as a client: the whole engine with its own PostgreSQL, one batch, no setting tuned."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.admission.job import Job, Told, cpu_s, read_job, tell
from bench.throughput import engine_at, loop_run
from headrace.config import Config
from headrace.engine import Engine
from headrace.lifecycle import BATCH_FINAL, ItemState
from headrace.recipe import parse_recipe
from headrace.submission import Terms
from headrace.watching import Batch

MODELS = {"chat": "gpt-simulated", "images": "gpt-image-simulated"}
LEAVE_S, LOOK_S = 10.0, 0.5


def recipe_of(shape: str) -> dict[str, Any]:
    """Return the recipe as a user would write it: one stage that asks the provider."""
    stage: dict[str, Any] = {
        "name": "make",
        "kind": "generate",
        "model": f"openai:{MODELS[shape]}",
        "prompt": "{{ prompt }}",
    }
    columns = ["prompt"]
    if shape == "chat":
        stage["params"] = {"max_tokens": "{{ max_tokens }}"}
        columns.append("max_tokens")
    return {"name": "admission", "columns": {"required": columns}, "stages": [stage]}


def config_of(job: Job) -> Config:
    """Return the one configuration: defaults, the address, and the limits where they are told."""
    case = job.case
    table: dict[str, Any] = {"base_url": f"{job.url}/v1", "api_key": "bench", "crash_class": "A"}
    if case.told:
        table["limits"] = dict(case.told)
    config = Config(home=job.home, providers={"openai": table})
    if not job.gate:
        return config
    worker = msgspec.structs.replace(config.worker, gate=job.gate)
    return msgspec.structs.replace(config, worker=worker)


def knows_gates() -> bool:
    """Whether this engine can be told which gate to use."""
    return "gate" in type(Config().worker).__struct_fields__


def _database(home: Path) -> psutil.Process | None:
    path = next(home.glob("**/postmaster.pid"), None)
    with contextlib.suppress(psutil.Error, OSError, ValueError, IndexError):
        return psutil.Process(int(path.read_text().splitlines()[0])) if path else None
    return None


def database_cpu_s(home: Path) -> float:
    """Return the CPU seconds of the database's processes, those that have ended included."""
    server = _database(home)
    if server is None:
        return 0.0
    total = 0.0
    with contextlib.suppress(psutil.Error):
        total += sum(server.cpu_times()[:4])
        for child in server.children():
            with contextlib.suppress(psutil.Error):
                total += sum(child.cpu_times()[:2])
    return total


async def run(job: Job) -> Told:
    """Submit the batch and work until it has ended or the time is up."""
    told, home = Told(), Path(job.home)
    rows = (
        {"prompt": item.prompt, "max_tokens": item.max_tokens}
        for item in job.case.rows(job.items, job.seed)
    )
    recipe = recipe_of(job.case.shape)
    async with engine_at(config_of(job)) as engine:
        before_s, before_database_s = cpu_s(), database_cpu_s(home)
        batch = await engine.submit(
            rows,
            parse_recipe(recipe, "admission"),
            columns=recipe["columns"]["required"],
            terms=Terms(name="admission", cache="off"),
        )
        await _finish(job, batch, told)
        told.cpu_s = cpu_s() - before_s
        told.database_cpu_s = database_cpu_s(home) - before_database_s
        await _count(batch, told)
        told.lane = _lane(engine)
    return told


async def join(job: Job) -> Told:
    """Work beside the process that submits, on the same home, until its batch has ended."""
    told = Told()
    async with engine_at(config_of(job)) as engine, asyncio.timeout(job.limit_s):
        before_s = cpu_s()
        while not any(one.state in BATCH_FINAL for one in await engine.recent(1)):
            await asyncio.sleep(LOOK_S)
        told.cpu_s = cpu_s() - before_s
    return told


async def _finish(job: Job, batch: Batch, told: Told) -> None:
    try:
        await asyncio.wait_for(batch.done(), job.limit_s)
    except TimeoutError:
        told.timed_out = True
        await batch.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(batch.done(), LEAVE_S)


async def _count(batch: Batch, told: Told) -> None:
    summary = await batch.summary()
    told.succeeded = summary.succeeded
    reasons: Counter[str] = Counter()
    if summary.succeeded < summary.item_count:
        async for item in batch.items():
            # What was taken back when the time was up may name its last refusal: that is no end.
            if item.error and item.state != ItemState.CANCELLED:
                reasons[str(item.error)[:160]] += 1
    told.failed = sum(reasons.values())
    told.errors = dict(reasons.most_common(5))


def _lane(engine: Engine) -> dict[str, Any]:
    """Return nothing yet: what the lane has learned is not to be seen from outside."""
    return {}


async def work(job: Job) -> Told:
    """Do what the job says; on SIGTERM the engine is left in good order."""
    task = asyncio.ensure_future(join(job) if job.role == "join" else run(job))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    tell(loop_run(work(read_job())))
