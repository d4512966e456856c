"""Batches out of files, as OpenAI's API has them: asked for once, shown, listed, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from headrace.blob import Blobs
from headrace.cache import Cache
from headrace.clock import Clock
from headrace.config import Run
from headrace.errors import InputError, NotFoundError
from headrace.files import Files
from headrace.fingerprint import fingerprint
from headrace.handout import PREFIX, Handout
from headrace.held import HeldBatch, encode_json
from headrace.identity import new_uuid, read_id, show_id
from headrace.intake import Intake
from headrace.loops.clerk import Clerk
from headrace.recipe import Recipe
from headrace.stage import Stage
from headrace.store import file_batches, files
from headrace.store.database import Database
from headrace.store.file_batches import FileBatch, NewFileBatch
from headrace.store.ledger import Accounts

WINDOW = timedelta(hours=24)


class KeyReusedError(InputError):
    """An idempotency key was used for another request."""

    code = "idempotency_mismatch"


class FileBatches:
    """What callers may do; whoever asks names the tenant, and others' are not there."""

    def __init__(
        self, database: Database, clock: Clock, files: Files, moved: Callable[[], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._files = files
        self._moved = moved
        self._accounts = Accounts()

    async def create(
        self,
        tenant_id: str,
        key_id: UUID,
        input_file_id: str,
        endpoint: str,
        *,
        metadata: dict[str, str] | None = None,
        outputs_end_after_s: int | None = None,
        idempotency_key: str | None = None,
        is_retry: bool = False,
    ) -> FileBatch:
        """Ask for a batch out of a file; what was asked for already is given again.

        That is so under the same idempotency key, and, with ``is_retry``, where the same API
        key asked word for word the same a moment ago. Raises ``NotFoundError`` for the file,
        ``KeyReusedError``.
        """
        file = await self._files.find(tenant_id, input_file_id)
        if file.purpose != "batch":
            raise InputError(f"{input_file_id} is no input", remedy="Upload it as one.")
        now = self._clock.now()
        asked = {
            "file": file.id.hex,
            "endpoint": endpoint,
            "metadata": metadata,
            "outputs_end_after_s": outputs_end_after_s,
        }
        new = NewFileBatch(
            id=new_uuid(now),
            tenant_id=tenant_id,
            key_id=key_id,
            idempotency_key=idempotency_key,
            request_digest=fingerprint(asked),
            input_file_id=file.id,
            endpoint=endpoint,
            metadata=None if metadata is None else encode_json(metadata).decode(),
            outputs_end_after_s=outputs_end_after_s,
            created_at=now,
            expires_at=now + WINDOW,
        )
        async with self._database.transaction() as connection:
            found = await file_batches.find(connection, await _one(connection, new, is_retry))
        self._moved()
        return found

    async def find(self, tenant_id: str, batch_id: str) -> FileBatch:
        """Return a tenant's batch; raises ``NotFoundError``."""
        known = read_batch(batch_id)
        async with self._database.acquire() as connection:
            found = await file_batches.find(connection, known)
        if found.tenant_id != tenant_id:
            raise NotFoundError("there is no such batch")
        return found

    async def listed(self, tenant_id: str, after: str | None, count: int) -> list[FileBatch]:
        """Return a tenant's batches behind ``after``, the latest first."""
        behind = None if after is None else read_batch(after)
        async with self._database.acquire() as connection:
            return await file_batches.listed(connection, tenant_id, behind, count)

    async def cancel(self, tenant_id: str, batch_id: str) -> FileBatch:
        """Cancel: nothing starts after this returns. Raises ``InputError`` when it had ended."""
        found = await self.find(tenant_id, batch_id)
        async with self._database.transaction() as connection:
            state = await file_batches.cancel(
                connection, self._accounts, found.id, self._clock.now()
            )
        if state in ("failed", "completed", "expired", "cancelled"):
            raise InputError(f"a batch that is {state} cannot be cancelled")
        self._moved()
        return await self.find(tenant_id, batch_id)


async def _one(connection: Any, new: NewFileBatch, is_retry: bool) -> UUID:
    """Return the batch that is asked for, written down now or before."""
    # The first call may be under way still: whoever comes second waits for it here.
    await files.lock(connection, new.request_digest)
    if new.idempotency_key is None and is_retry:
        before = await file_batches.asked_before(connection, new)
        if before is not None:
            return before
    if await file_batches.insert(connection, new):
        return new.id
    batch_id, digest = await file_batches.by_key(connection, new)
    if digest != new.request_digest:
        raise KeyReusedError(
            f"the idempotency key {new.idempotency_key!r} was used for another request",
            remedy=f"Use a new key, or look at {show_id(PREFIX, batch_id)}.",
        )
    return batch_id


def clerk_of(
    database: Database,
    blobs: Blobs,
    clock: Clock,
    files: Files,
    cache: Cache,
    run: Run,
    stages_of: Callable[[Recipe, str], Awaitable[list[Stage]]],
    marked: Callable[[Recipe, str], Awaitable[Recipe]],
    open_batch: Callable[[UUID], Awaitable[HeldBatch]],
    moved: Callable[[], None],
    stopping: asyncio.Event,
) -> Clerk:
    """Return the loop that takes files in and hands results out; ``moved`` says so to others."""
    intake = Intake(database, clock, files, stages_of, marked, run, moved, stopping)
    handout = Handout(database, blobs, clock, files, cache, open_batch, stopping)
    return Clerk(database, clock, intake.take_in, handout.hand_out, files.sweep)


def read_batch(text: str) -> UUID:
    """Return the id behind its public form; raises ``NotFoundError`` when it is not one."""
    return read_id(PREFIX, text, "the id of a batch")
