"""The queue behind a handful of methods: PgQueuer on the same database, a job for a shard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job
from pgqueuer.errors import RetryRequested

from headrace.plan import CLASSES
from headrace.store import statements
from headrace.telemetry import log

SHARD, EXPRESS = "shard", "express"
"""The queue's entrypoints: each kind of shard has places of its own with every worker.

While some worker takes only some classes, a shard stands under its kind and class.
"""
ABANDON_S_MAX = 5.0

Handler = Callable[[int], Awaitable[float | None]]
"""Works on the shard with that id; returns ``None`` when done with it, or after how many
seconds the job is to be handed out again."""


async def enqueue(connection: Any, shard_ids: list[int]) -> None:
    """Put shards in the queue, in the caller's own transaction, and note their job ids."""
    if not shard_ids:
        return
    rows = await connection.fetch(statements.load("shards/places.sql"), shard_ids)
    places = {
        row["id"]: place(row["express"], row["class_name"] if row["is_apart"] else None)
        for row in rows
    }
    queries = Queries(AsyncpgDriver(connection))
    job_ids = await queries.enqueue(
        [places[shard_id] for shard_id in shard_ids],
        [str(shard_id).encode() for shard_id in shard_ids],
        [0] * len(shard_ids),
    )
    await connection.execute(
        statements.load("shards/queued.sql"), shard_ids, [int(job_id) for job_id in job_ids]
    )


def place(express: bool, class_name: str | None) -> str:
    """Return the entrypoint of a shard; without a class, that of all workers."""
    kind = EXPRESS if express else SHARD
    return kind if class_name is None else f"{kind}:{class_name}"


def kind_of(entrypoint: str) -> str:
    """Return ``SHARD`` or ``EXPRESS``."""
    return entrypoint.partition(":")[0]


async def forget(connection: Any, job_ids: list[int]) -> None:
    """Take jobs out of the queue, whoever holds them; the fence makes that harmless."""
    if job_ids:
        queries = Queries(AsyncpgDriver(connection))
        await queries.mark_job_as_cancelled(job_ids)  # type: ignore[arg-type]


@dataclass
class _Manager(QueueManager):
    """PgQueuer's manager, which takes no more shards than it may hold, but express ones still.

    Its own limits are for all workers together, or for all jobs of this one.
    """

    shards_held: int = 2
    _held: set[int] = field(init=False, default_factory=set)

    def entrypoints_below_capacity_limits(self) -> set[Any]:
        """Return the entrypoints of which the next job may be; asked before each one."""
        names = super().entrypoints_below_capacity_limits()
        if len(self._held) >= self.shards_held:
            names = {name for name in names if kind_of(name) != SHARD}
        return names

    async def fetch_jobs(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Job, None]:
        """Yield jobs as they come, and count the shards among them."""
        async for job in super().fetch_jobs(*args, **kwargs):
            if kind_of(job.entrypoint) == SHARD:
                self._held.add(job.id)
            yield job

    def forget_job(self, job_id: Any, context: Any, task: Any) -> None:
        """Drop a job that has ended, however."""
        super().forget_job(job_id, context, task)
        self._held.discard(job_id)


class QueueWorker:
    """Takes jobs from the queue and hands their shards to a handler, a few at a time.

    The lease of a shard is PgQueuer's heartbeat of its job: a worker that stops beating
    for ``heartbeat_s`` seconds loses its jobs to others, whose claim moves the fence.
    Up to ``shards_held`` shards are held, and up to ``express_held`` express ones beside them.
    """

    def __init__(
        self,
        connection: asyncpg.Connection[Any],
        handler: Handler,
        shards_held: int,
        express_held: int,
        heartbeat_s: float,
        classes: Sequence[str] = CLASSES,
    ) -> None:
        self._manager = _Manager(Queries(AsyncpgDriver(connection)), shards_held=shards_held)
        self._handler = handler
        self._jobs_held = max(2, shards_held + express_held)
        self._heartbeat_s = heartbeat_s
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self._lost.set())
        for express in (False, True):
            # Those without a class are everybody's: whoever may not work on one hands it on.
            for class_name in (None, *classes):
                name = place(express, class_name)
                self._manager.entrypoint(name, accepts_context=False)(self._work)

    async def _work(self, job: Job) -> None:
        again_s = await self._handler(int((job.payload or b"0").decode()))
        if again_s is not None:
            raise RetryRequested(delay=timedelta(seconds=again_s), reason="not done")

    def start(self) -> None:
        """Start taking jobs."""
        self._task = asyncio.create_task(
            self._manager.run(
                dequeue_timeout=timedelta(seconds=max(0.5, self._heartbeat_s / 4)),
                batch_size=1,
                max_concurrent_tasks=self._jobs_held,
                heartbeat_timeout=timedelta(seconds=self._heartbeat_s),
                log_aggregation_interval=timedelta(0),
            ),
            name="queue",
        )

    async def ended(self) -> None:
        """Return when no more jobs are being taken: stopped, or the session was lost."""
        if self._task is None:
            return
        lost = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({self._task, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()

    async def abandon(self) -> None:
        """Give the session up; handlers in progress are not ours to end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=ABANDON_S_MAX)

    def shut(self) -> None:
        """Take no more jobs."""
        self._manager.shutdown.set()

    async def stop(self) -> None:
        """Take no more jobs and wait until the handlers in progress have returned."""
        self.shut()
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled() and self._task.exception() is not None:
                log().warning("queue_ended", why=str(self._task.exception()))
