"""The guard: moves batches on from their canary, stops at budgets, and ends cancelled ones."""

from __future__ import annotations

from collections.abc import Callable

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import guards
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.telemetry import log

IDLE_S = 1.0
BUSY_S = 0.25


class Guard(Loop):
    """Looks at what is written, so that any worker's guard goes on where another's died.

    ``moved`` is called when a batch was moved: there may be more to cut, or less.
    """

    name = "guard"

    def __init__(self, database: Database, clock: Clock, moved: Callable[[], None]) -> None:
        super().__init__(clock)
        self._database = database
        self._moved = moved
        self._accounts = Accounts()

    async def tick(self) -> float:
        """Look at every guarded batch once; come back soon while there are any."""
        async with self._database.acquire() as connection:
            looked_after = await guards.guarded(connection)
        for batch in looked_after:
            async with self._database.transaction() as connection:
                state = await guards.move(connection, self._accounts, batch, self._clock.now())
            if state is not None:
                log(batch=str(batch.id)).info("guard_moved", state=state)
                self._moved()
        return BUSY_S if looked_after else IDLE_S
