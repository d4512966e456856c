"""The sweeper: removes data past its time, and bytes that nobody refers to any more.

An artifact that somebody lets go of is doomed, a blob goes in two steps, and a grace lies
between all of them; docs/privacy.md says why nothing that is being given the same bytes
loses them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.blob import Blobs
from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import erasure, files, statements, webhook_deliveries
from headrace.store.database import Database
from headrace.telemetry import crash_point, log
from headrace.upkeep_settings import Retention

TICK_S = 60.0
GRACE = timedelta(hours=1)
"""Far longer than from a look at the cache, or a blob that is put, to the settle that names it."""
LOG_DAYS = 30
ORPHANS_S = 86_400.0


class Sweeper(Loop):
    """Sweeps as one of all processes; ``days`` are those of tenants without their own."""

    name = "sweeper"

    def __init__(self, database: Database, blobs: Blobs, clock: Clock, days: Retention) -> None:
        super().__init__(clock)
        self._database = database
        self._blobs = blobs
        self._days = days
        self._orphans_at_s = 0.0

    async def tick(self) -> float:
        """Sweep once, unless another process does."""
        async with self._database.transaction() as lock:
            if not await lock.fetchval(statements.load("erasure/alone.sql")):
                return TICK_S
            now = self._clock.now()
            await self._past_their_time(now)
            await self._doomed(now)
            await self._leaving(now)
            await self._orphans(now)
            async with self._database.transaction() as connection:
                await webhook_deliveries.prune(connection, now - timedelta(days=LOG_DAYS))
        return TICK_S

    async def _past_their_time(self, now: datetime) -> None:
        days = (self._days.inputs_days, self._days.artifacts_days, self._days.events_days)
        async with self._database.acquire() as connection:
            over = await erasure.past_their_time(connection, now, days)
        for batch_id, kinds in over:
            async with self._database.transaction() as connection:
                await erasure.erase_if_over(connection, batch_id, kinds, now)
                crash_point("sweep-before-commit")

    async def _doomed(self, now: datetime) -> None:
        """Remove artifacts that were let go of a grace ago, and that nobody has by now."""
        before = now - GRACE
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statements.load("erasure/doomed.sql"), before)
            if not rows:
                return
            doomed = [row["sha256"] for row in rows]
            # Entries count a grace longer than they are seen: who saw one may not have settled.
            named = await connection.fetch(
                statements.load("erasure/referenced.sql"), doomed, before
            )
        kept = {row["sha256"] for row in named}
        async with self._database.transaction() as connection:
            await connection.execute(statements.load("erasure/spare.sql"), list(kept), before)
            gone = await connection.fetch(
                statements.load("erasure/remove.sql"),
                [one for one in doomed if one not in kept],
                before,
            )
            blobs = [row["sha256"] for row in gone if row["is_blob"]]
            await erasure.leave(connection, blobs, now)

    async def _leaving(self, now: datetime) -> None:
        """Set aside blobs that are nobody's; after a grace remove them, or put them back."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statements.load("erasure/leaving.sql"), now)
        for row in rows:
            await self._leave(row["sha256"], now)

    async def _leave(self, sha256: bytes, now: datetime) -> None:
        async with self._database.transaction() as connection:
            await files.lock(connection, sha256)
            is_used = await files.is_used(connection, sha256)
            if not is_used and await self._blobs.exists(sha256):
                await self._blobs.set_aside(sha256)
                crash_point("sweep-set-aside")
                sql = statements.load("erasure/put_off.sql")
                await connection.execute(sql, sha256, now + GRACE)
                return
            if is_used:
                await self._blobs.put_back(sha256)
            else:
                await self._blobs.remove_aside(sha256)
                crash_point("sweep-removed")
            await connection.execute(statements.load("erasure/left.sql"), sha256)

    async def _orphans(self, now: datetime) -> None:
        """Let blobs leave that no database row has named for days, where the settings say so."""
        days, now_s = self._days.orphans_days, self._clock.monotonic_s()
        if days is None or now_s < self._orphans_at_s:
            return
        self._orphans_at_s = now_s + ORPHANS_S
        found = 0
        async for digests in self._blobs.older_than(now - timedelta(days=days)):
            async with self._database.transaction() as connection:
                rows = await connection.fetch(statements.load("erasure/known.sql"), digests)
                known = {row["sha256"] for row in rows}
                orphans = [one for one in digests if one not in known]
                found += len(orphans)
                await erasure.leave(connection, orphans, now)
        if found:
            log(loop=self.name).info("orphans_found", count=found)
