"""The expirer: takes back what is left of grants whose time is over."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import ledger, lots
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.telemetry import crash_point, log

TICK_S = 60.0


class Expirer(Loop):
    """Expires credits, a tenant at a time; whoever comes second finds nothing left to take."""

    name = "expirer"

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._accounts = Accounts()

    async def tick(self) -> float:
        """Take back what is past its time."""
        now = self._clock.now()
        async with self._database.acquire() as connection:
            found = [tenant_id async for tenant_id in lots.due(connection, now)]
        for tenant_id in found:
            async with self._database.transaction() as connection:
                gone = await ledger.expire(connection, self._accounts, tenant_id, now)
                crash_point("expire-before-commit")
            if gone:
                log(loop=self.name).info("credits_expired", tenant=tenant_id, microcredits=gone)
        return TICK_S
