"""The heart: a worker's sign of life, and whether it still takes work."""

from __future__ import annotations

import asyncio

from headrace.clock import Clock
from headrace.errors import DatabaseError
from headrace.loops.loop import Loop
from headrace.store import workers
from headrace.store.database import Database
from headrace.telemetry import log
from headrace.worker import Worker


class Heart(Loop):
    """Beats for whoever looks at the workers, and sees whether this release may still run."""

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
        if await self._may_run():
            async with self._database.acquire() as connection:
                await workers.beat(
                    connection, self._worker.id, self._stopping_work.is_set(), self._clock.now()
                )
        return self._every_s

    async def _may_run(self) -> bool:
        """Tell whether this release may; before anything that would trip over a newer schema."""
        if self._database.outdated.is_set():
            return False
        try:
            async with self._database.acquire() as connection:
                await self._database.check(connection)
        except DatabaseError as error:
            # What is in hand ends as it would; whoever runs the process ends that.
            self._worker.take_no_more()
            log(loop=self.name).error("outdated", why=error.message, remedy=error.remedy)
            return False
        return True
