"""Waits for what workers of other processes make: one look at the database for all who wait."""

from __future__ import annotations

import asyncio
from uuid import UUID

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.loops.sharder import Sharder
from headrace.store import statements
from headrace.store.database import Database

LOOK_S = 0.1
IDLE_S = 60.0


class Elsewhere(Loop):
    """Tells when batches have ended that this process submitted and does not work on."""

    name = "elsewhere"

    def __init__(self, database: Database, clock: Clock, sharder: Sharder) -> None:
        super().__init__(clock)
        self._database = database
        self._sharder = sharder
        self._waiting: dict[UUID, asyncio.Future[None]] = {}

    async def made(self, batch_id: UUID) -> None:
        """Return when a batch has ended."""
        ended = self._waiting.setdefault(batch_id, asyncio.get_running_loop().create_future())
        # In fair order, as any sharder cuts; those of the workers may look a second from now.
        await self._sharder.tick()
        self.start()
        self.wake()
        await asyncio.shield(ended)

    async def tick(self) -> float:
        """Look once; sleep until somebody waits."""
        if self._waiting:
            async with self._database.acquire() as connection:
                rows = await connection.fetch(
                    statements.load("batches/done_of.sql"), list(self._waiting)
                )
            for row in rows:
                self._waiting.pop(row["id"]).set_result(None)
        return LOOK_S if self._waiting else IDLE_S
