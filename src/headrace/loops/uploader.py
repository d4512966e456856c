"""The uploader: sends what earlier processes left in the spool, and forgets what nobody waits for.

What a process bought itself is sent by the item that bought it. This loop looks after the bodies
of processes that died here while another machine goes on with their items.
"""

from __future__ import annotations

import asyncio

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.clock import Clock
from headrace.errors import NotFoundError, StorageError
from headrace.loops.loop import Loop
from headrace.outbox import Outbox
from headrace.store import spooled
from headrace.store.database import Database
from headrace.telemetry import log

TICK_S = 15.0
NOBODYS_S = 6 * 3600.0
"""A body that nobody waits for is removed then: its process died before it could write it down."""
AT_ONCE_MAX = 500


class Uploader(Loop):
    """Looks after the spool of one process's machine; idle where the store is a folder."""

    name = "uploader"

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._blobs = blobs

    async def tick(self) -> float:
        """Send strays that somebody waits for, remove old ones, and halves, of nobody."""
        outbox = self._blobs.outbox
        if outbox is None:
            return TICK_S
        now_s = self._clock.now().timestamp()
        await asyncio.to_thread(self._blobs.sweep, NOBODYS_S, now_s)
        await self._look_after(outbox)
        async with self._database.transaction() as connection:
            await spooled.prune(connection)
        return TICK_S

    async def _look_after(self, outbox: Outbox) -> None:
        strays = await outbox.strays()
        async with self._database.acquire() as connection:
            named = await spooled.named(connection, list(strays))
        await self._send(named[:AT_ONCE_MAX])
        known = {artifact.sha256 for artifact in named}
        before_s = self._clock.now().timestamp() - NOBODYS_S
        for sha256, (_, came_s) in strays.items():
            if sha256 not in known and came_s < before_s:
                await asyncio.to_thread(outbox.remove_old, sha256, before_s)
                outbox.gone(sha256)

    async def _send(self, named: list[Artifact]) -> None:
        for artifact in named:
            if self._stopping:
                return
            try:
                await self._blobs.forward(artifact)
            except NotFoundError as error:
                log(loop=self.name).warning("spooled_body_lost", why=error.message)
            except StorageError as error:
                log(loop=self.name).warning("blob_store_away", why=error.message)
                return
