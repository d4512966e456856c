"""The rescuer: hands out again what a dead worker held."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import shards
from headrace.store.database import Database
from headrace.telemetry import log


class Rescuer(Loop):
    """Looks for workers whose session the database has seen end, and for lost jobs."""

    name = "rescuer"

    def __init__(
        self, database: Database, clock: Clock, worker_id: int, every_s: float = 2.0
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._worker_id = worker_id
        self._every_s = every_s

    async def tick(self) -> float:
        """Rescue once."""
        async with self._database.transaction() as connection:
            rescued = await shards.rescue(connection, self._worker_id, self._clock.now())
        if rescued:
            log().warning("shards_rescued", shards=rescued)
        return self._every_s
