"""Forgets batches, and all that a tenant has: what people may ask to be removed."""

from __future__ import annotations

from uuid import UUID

from headrace.clock import Clock
from headrace.errors import ConflictError, NotFoundError
from headrace.identity import show_batch_id
from headrace.store import erasure
from headrace.store.database import Database


class Forgetting:
    """Removes rows at once; bytes that are nobody's any more follow with the sweeper."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def batch(self, batch_id: UUID, tenant_id: str | None = None) -> None:
        """Forget a batch that has ended, of ``tenant_id`` where it is given.

        Raises ``NotFoundError``, and ``ConflictError`` while it runs.
        """
        async with self._database.transaction() as connection:
            await erasure.forget(connection, tenant_id, batch_id, self._clock.now())

    async def tenant(self, tenant_id: str) -> int:
        """Forget all data of a tenant; returns how many batches. Its ledger and its keys stay.

        Cut short, it may be asked for again. Raises ``NotFoundError``, and ``ConflictError``
        while a batch of it runs: then nothing is forgotten.
        """
        async with self._database.acquire() as connection:
            found = await erasure.batches_of(connection, tenant_id)
        running = [show_batch_id(one) for one, is_over in found if not is_over]
        if running:
            raise ConflictError(
                f"{len(running)} batches still run, {running[0]} for one",
                remedy="Cancel them first, and wait for their end.",
            )
        for batch_id, _ in found:
            try:
                await self.batch(batch_id, tenant_id)
            except NotFoundError:
                continue  # somebody forgot it meanwhile
        async with self._database.transaction() as connection:
            await erasure.forget_rest(connection, tenant_id, self._clock.now())
        return len(found)
