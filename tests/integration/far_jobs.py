"""Jobs at a simulated provider whose time stands still, and engines on a clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from headrace.config import Config, Retry, Worker
from headrace.engine import Engine, open_engine
from headrace.recipe import Recipe, parse_recipe
from headrace.simulator.jobs import Jobs
from headrace.simulator.server import Simulator
from headrace.simulator.settings import LatencySettings, Settings
from headrace.simulator.wire import Answer, Request
from headrace.store import shards
from headrace.store.audit import verify
from headrace.testing import ManualClock
from headrace.watching import Batch

ROWS = 4
CALL_S = 60.0


class Api(NamedTuple):
    """A simulated API: where it lies and a model of it."""

    path: str
    model: str


APIS = {
    "replicate": Api("/v1", "acme/painter"),
    "fal": Api("/fal", "fal-ai/any"),
    "bfl": Api("", "flux-2-pro"),
}


class FarProvider(Simulator):
    """A simulator whose time stands still; ``just_before`` a job is stopped a test may act."""

    just_before: Callable[[str], None] = staticmethod(lambda job_id: None)
    refusals = 0

    def __init__(self, settings: Settings, clock: ManualClock) -> None:
        super().__init__(settings, clock)
        self.looked: set[str] = set()

    @property
    def jobs(self) -> Jobs:
        """All jobs."""
        found: Jobs = self._shapes[0].jobs  # type: ignore[attr-defined]
        return found

    @property
    def endings(self) -> list[str]:
        """How each job ended, empty for one that runs."""
        return [job.ending for job in self.jobs.all.values()]

    def end(self, job_id: str) -> None:
        """Let a job end well now."""
        job = self.jobs.all[job_id]
        self.jobs._tasks.pop(job).cancel()
        self.jobs._end(job, "succeeded", paid=True)

    async def answer(self, request: Request) -> Answer | None:
        """Answer as ever, but for a cancel that a test refuses."""
        place = f"{request.path}?{request.query}"
        if request.method == "GET":
            self.looked |= {job_id for job_id in self.jobs.all if job_id in place}
        if request.path.endswith("/cancel"):
            self.just_before(request.path.split("/")[-2])
            if self.refusals:
                self.refusals -= 1
                return Answer(503, b"busy", media_type="text/plain")
        return await super().answer(request)


@asynccontextmanager
async def simulated(shape: str) -> AsyncIterator[FarProvider]:
    """Play a provider on which jobs run for ever."""
    settings = Settings(shapes=(shape,), latency=LatencySettings(median_s=30.0))
    simulator = FarProvider(settings, ManualClock())
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.close()


@asynccontextmanager
async def engine_at(
    simulator: FarProvider, database_url: str, home: Path, clock: ManualClock
) -> AsyncIterator[Engine]:
    """Open an engine whose calls end after a minute of its clock, tried again an hour later."""
    shape = simulator.settings.shapes[0]
    base = f"{simulator.url}{APIS[shape].path}"
    table = {"kind": shape, "base_url": base, "limits": {"requests_per_second": 1000}}
    config = Config(
        home=str(home),
        database_url=database_url,
        providers={"far": table},
        retry=Retry(attempts=3, base_s=3600.0, cap_s=3600.0),
        worker=Worker(call_timeout_s=CALL_S, gate="local"),
    )
    async with open_engine(config, clock=clock) as engine:
        ending = None
        try:
            yield engine
        finally:
            ending = asyncio.create_task(run_on(clock))
        # The block's end waits for calls in flight: their time has to move.
    if ending is not None:
        ending.cancel()


async def run_on(clock: ManualClock) -> None:
    """Let time go by, not faster than by three minutes a second: a database may be slow."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    while True:
        await clock.advance(1.0)
        await asyncio.wait({never}, timeout=0.005)


def recipe(simulator: FarProvider) -> Recipe:
    """One picture for each row."""
    model = f"far:{APIS[simulator.settings.shapes[0]].model}"
    stage = {"name": "make", "kind": "generate", "model": model, "prompt": "{{ t }}"}
    return parse_recipe({"name": "paint", "stages": [stage]}, "test")


async def submitted(
    engine: Engine, simulator: FarProvider, count: int = ROWS, name: str = "row"
) -> Batch:
    given = [{"t": f"{name} {number}"} for number in range(count)]
    return await engine.submit(given, recipe(simulator), columns=["t"])


async def moving(clock: ManualClock, work: Awaitable[Any], step_s: float = 0.5) -> Any:
    """What ``work`` gives, while time goes by."""
    task = asyncio.ensure_future(work)
    for _ in range(4000):
        await clock.advance(step_s)
        await asyncio.wait({task}, timeout=0.005)
        if task.done():
            return task.result()
    task.cancel()
    raise AssertionError("it never ended")


async def accepted(engine: Engine, count: int) -> None:
    """Wait until so many attempts have their provider's id written."""
    sql = "SELECT count(*) FROM attempt WHERE state = 'accepted'"
    async with engine.database.acquire() as connection:
        while await connection.fetchval(sql) < count:
            await asyncio.sleep(0)


@asynccontextmanager
async def at_work(
    shape: str, database_url: str, home: Path, clock: ManualClock
) -> AsyncIterator[tuple[FarProvider, Engine, Batch]]:
    """A provider on which all jobs of a batch run, and the engine that follows them."""
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, home, clock) as engine,
    ):
        batch = await submitted(engine, simulator)
        await moving(clock, accepted(engine, ROWS), 0.05)
        yield simulator, engine, batch


@dataclass
class Left:
    """Jobs that a dead worker followed: its engine stands still, another lives by ``clock``."""

    simulator: FarProvider
    dead: Engine
    live: Engine
    batch: Batch
    frozen: ManualClock
    clock: ManualClock

    async def claims(self) -> list[shards.Claim]:
        """The shards of the dead worker, in the hands of the live one."""
        async with self.live.database.transaction() as connection:
            rows = await connection.fetch("SELECT id FROM shard WHERE state = 'open'")
            worker_id = self.live.worker.id
            found = [await shards.claim(connection, row["id"], worker_id) for row in rows]
        return [claim for claim in found if claim is not None]


@asynccontextmanager
async def left_alone(shape: str, database_url: str, home: Path, count: int) -> AsyncIterator[Left]:
    """Jobs of a batch of ``count`` rows whose worker dies once all of them run."""
    frozen, clock = ManualClock(), ManualClock()
    async with (
        simulated(shape) as simulator,
        engine_at(simulator, database_url, home / "a", frozen) as dead,
        engine_at(simulator, database_url, home / "b", clock) as live,
    ):
        batch = await submitted(dead, simulator, count)
        await asyncio.gather(*(moving(one, accepted(dead, count), 0.05) for one in (frozen, clock)))
        yield Left(simulator, dead, live, batch, frozen, clock)


async def audit(engine: Engine) -> list[str]:
    async with engine.database.acquire() as connection:
        return await verify(connection)


async def attempts(engine: Engine) -> list[tuple[str, str | None, int | None]]:
    async with engine.database.acquire() as connection:
        rows = await connection.fetch(
            "SELECT state, outcome, cost_microusd FROM attempt ORDER BY idx, number"
        )
    return [tuple(row) for row in rows]
