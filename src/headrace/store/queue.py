"""The queue behind a handful of methods: PgQueuer on the same database, a job for a shard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job
from pgqueuer.errors import RetryRequested

from headrace.store import statements
from headrace.telemetry import log

SHARD, EXPRESS = "shard", "express"
"""The queue's entrypoints: each kind of shard has places of its own with every worker."""
ABANDON_S_MAX = 5.0

Handler = Callable[[int], Awaitable[float | None]]
"""Works on the shard with that id; returns ``None`` when done with it, or after how many
seconds the job is to be handed out again."""


async def enqueue(connection: Any, shard_ids: list[int]) -> None:
    """Put shards in the queue, in the caller's own transaction, and note their job ids."""
    if not shard_ids:
        return
    rows = await connection.fetch(statements.load("shards/express.sql"), shard_ids)
    express = {row["id"] for row in rows}
    queries = Queries(AsyncpgDriver(connection))
    job_ids = await queries.enqueue(
        [EXPRESS if shard_id in express else SHARD for shard_id in shard_ids],
        [str(shard_id).encode() for shard_id in shard_ids],
        [0] * len(shard_ids),
    )
    await connection.execute(
        statements.load("shards/queued.sql"), shard_ids, [int(job_id) for job_id in job_ids]
    )


async def forget(connection: Any, job_ids: list[int]) -> None:
    """Take jobs out of the queue, whoever holds them; the fence makes that harmless."""
    if job_ids:
        queries = Queries(AsyncpgDriver(connection))
        await queries.mark_job_as_cancelled(job_ids)  # type: ignore[arg-type]


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
    ) -> None:
        # One session, and one driver, whose lock lets two managers take turns on it.
        queries = Queries(AsyncpgDriver(connection))
        self._managers = {
            name: (QueueManager(queries), max(2, held))
            for name, held in ((SHARD, shards_held), (EXPRESS, express_held))
        }
        self._handler = handler
        self._heartbeat_s = heartbeat_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self._lost.set())
        for name, (manager, _) in self._managers.items():
            manager.entrypoint(name, accepts_context=False)(self._work)

    async def _work(self, job: Job) -> None:
        again_s = await self._handler(int((job.payload or b"0").decode()))
        if again_s is not None:
            raise RetryRequested(delay=timedelta(seconds=again_s), reason="not done")

    def start(self) -> None:
        """Start taking jobs."""
        for name, (manager, held) in self._managers.items():
            run = manager.run(
                dequeue_timeout=timedelta(seconds=max(0.5, self._heartbeat_s / 4)),
                batch_size=1,
                max_concurrent_tasks=held,
                heartbeat_timeout=timedelta(seconds=self._heartbeat_s),
                log_aggregation_interval=timedelta(0),
            )
            self._tasks.add(asyncio.create_task(run, name=f"queue {name}"))

    async def ended(self) -> None:
        """Return when no more jobs are being taken: stopped, or the session was lost."""
        if not self._tasks:
            return
        lost = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({*self._tasks, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()

    async def abandon(self) -> None:
        """Give the session up; handlers in progress are not ours to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ABANDON_S_MAX)

    async def stop(self) -> None:
        """Take no more jobs and wait until the handlers in progress have returned."""
        for manager, _ in self._managers.values():
            manager.shutdown.set()
        if not self._tasks:
            return
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled() and task.exception() is not None:
                log().warning("queue_ended", why=str(task.exception()))
