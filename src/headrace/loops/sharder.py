"""The sharder: cuts the next shards in fair order, just in time, one sharder at a time."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import shards, statements
from headrace.store.database import Database
from headrace.telemetry import crash_point

IDLE_S = 1.0
NO_ROOM_S = 0.25


class Sharder(Loop):
    """Keeps twice the workers' appetite of shards in the queue, and some of every tenant."""

    name = "sharder"

    def __init__(self, database: Database, clock: Clock, items_max: int) -> None:
        super().__init__(clock)
        self._database = database
        self._items_max = items_max

    async def tick(self) -> float:
        """Cut what there is room for; sleep until the next item is due, a second at most."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            cut = await shards.cut(connection, self._items_max, now)
            due_at = await connection.fetchval(statements.load("shards/next_due.sql"))
        if cut:
            crash_point("cut-after-commit")
            return 0.01
        if due_at is None:
            return IDLE_S
        wait_s: float = (due_at - now).total_seconds()
        # What is due already found no room; a shard that ends wakes this loop.
        return min(IDLE_S, max(0.02, wait_s)) if wait_s > 0 else NO_ROOM_S
