"""The heart: a worker's sign of life, and whether it still takes work."""

from __future__ import annotations

import asyncio

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import workers
from headrace.store.database import Database
from headrace.worker import Worker


class Heart(Loop):
    """Beats for whoever looks at the workers; nothing is decided by it."""

    name = "heart"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        worker: Worker,
        stopping: asyncio.Event,
        heartbeat_s: float,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._worker = worker
        self._stopping_work = stopping
        self._every_s = heartbeat_s / 2

    async def tick(self) -> float:
        """Beat once; twice as often as a heartbeat is due."""
        async with self._database.acquire() as connection:
            await workers.beat(
                connection, self._worker.id, self._stopping_work.is_set(), self._clock.now()
            )
        return self._every_s
