"""Batches out of files at rest: asked for, looked through, ended; and what there is to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from headrace.errors import NotFoundError
from headrace.store import batches, statements, webhooks
from headrace.store.ledger import Accounts

AGAIN_S = 300
"""So long a client that never saw its answer is given what it asked for before."""


@dataclass(frozen=True, slots=True)
class NewFileBatch:
    """What is asked for; ``metadata`` is JSON text. ``key_id`` is the API key that asks."""

    id: UUID
    tenant_id: str
    key_id: UUID
    idempotency_key: str | None
    request_digest: bytes
    input_file_id: UUID
    endpoint: str
    metadata: str | None
    outputs_end_after_s: int | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FileBatch:
    """A batch out of a file; ``batch_state`` and the counts are those of the batch it became."""

    id: UUID
    tenant_id: str
    input_file_id: UUID
    endpoint: str
    metadata: str | None
    outputs_end_after_s: int | None
    state: str
    errors: str | None
    output_file_id: UUID | None
    error_file_id: UUID | None
    created_at: datetime
    expires_at: datetime
    in_progress_at: datetime | None
    cancelling_at: datetime | None
    expiring_at: datetime | None
    ended_at: datetime | None
    batch_state: str | None
    finished_at: datetime | None
    total: int
    succeeded: int
    failed: int
    event_seq: int


async def insert(connection: Any, new: NewFileBatch) -> bool:
    """Write a batch down; ``False`` where its idempotency key was used before."""
    inserted = await connection.fetchval(
        statements.load("file_batches/insert.sql"),
        new.id,
        new.tenant_id,
        new.key_id,
        new.idempotency_key,
        new.request_digest,
        new.input_file_id,
        new.endpoint,
        new.metadata,
        new.outputs_end_after_s,
        new.created_at,
        new.expires_at,
    )
    return inserted is not None


async def by_key(connection: Any, new: NewFileBatch) -> tuple[UUID, bytes]:
    """Return id and digest of what was asked for under the same idempotency key."""
    row = await connection.fetchrow(
        statements.load("file_batches/by_key.sql"), new.tenant_id, new.idempotency_key
    )
    return row["id"], row["request_digest"]


async def asked_before(connection: Any, new: NewFileBatch) -> UUID | None:
    """Return what the same API key asked for a moment ago, word for word."""
    since = new.created_at - timedelta(seconds=AGAIN_S)
    found: UUID | None = await connection.fetchval(
        statements.load("file_batches/again.sql"), new.key_id, new.request_digest, since
    )
    return found


async def find(connection: Any, batch_id: UUID) -> FileBatch:
    """Return a batch; raises ``NotFoundError``."""
    row = await connection.fetchrow(statements.load("file_batches/find.sql"), batch_id)
    if row is None:
        raise NotFoundError("there is no such batch")
    return FileBatch(**row)


async def listed(
    connection: Any, tenant_id: str, after: UUID | None, count: int
) -> list[FileBatch]:
    """Return a tenant's batches behind ``after``, the latest first."""
    rows = await connection.fetch(statements.load("file_batches/list.sql"), tenant_id, after, count)
    return [FileBatch(**row) for row in rows]


async def due(connection: Any, now: datetime) -> list[tuple[UUID, str, bool]]:
    """Return id, state and whether the batch it became is over, of those with work to do."""
    rows = await connection.fetch(statements.load("file_batches/due.sql"), now)
    return [(row["id"], row["state"], bool(row["is_over"])) for row in rows]


async def alone(connection: Any, batch_id: UUID) -> bool:
    """Be the only one that works at a batch's files until the transaction ends, if one can."""
    key = int.from_bytes(batch_id.bytes[8:], "big", signed=True)
    got: bool = await connection.fetchval(statements.load("file_batches/alone.sql"), key)
    return got


async def begin(connection: Any, batch_id: UUID, now: datetime) -> bool:
    """Let a file that was looked through begin; ``False`` when it was cancelled meanwhile."""
    sql = statements.load("file_batches/begin.sql")
    return await connection.fetchval(sql, batch_id, now) is not None


async def fail(connection: Any, batch_id: UUID, errors: str, now: datetime) -> None:
    """End a batch whose file cannot be used; ``errors`` is JSON text."""
    await connection.execute(statements.load("file_batches/fail.sql"), batch_id, errors, now)
    await webhooks.note_file_batch(connection, batch_id, now)


async def cancel(connection: Any, accounts: Accounts, batch_id: UUID, now: datetime) -> str:
    """Cancel a batch in the caller's transaction; returns the state that it was in."""
    state: str = await connection.fetchval(statements.load("file_batches/lock.sql"), batch_id)
    if state == "validating":
        await connection.execute(statements.load("file_batches/drop.sql"), batch_id, now)
        await webhooks.note_file_batch(connection, batch_id, now)
    elif (
        state == "in_progress"
        and await batches.cancel(connection, accounts, batch_id, now) is not None
    ):
        await connection.execute(statements.load("file_batches/cancel.sql"), batch_id, now)
    return state


async def expire(connection: Any, accounts: Accounts, batch_id: UUID, now: datetime) -> None:
    """Let nothing more of a batch start whose window is over."""
    if await connection.fetchval(statements.load("file_batches/expire.sql"), batch_id, now):
        await batches.cancel(connection, accounts, batch_id, now)


async def settled(connection: Any, batch_id: UUID) -> tuple[str, int]:
    """Return the batch's state and its last event; neither moves until the transaction ends."""
    row = await connection.fetchrow(statements.load("file_batches/settled.sql"), batch_id)
    return row["state"], row["event_seq"]


async def end(
    connection: Any,
    found: FileBatch,
    state: str,
    files: tuple[UUID | None, UUID | None],
    now: datetime,
) -> bool:
    """End a batch with its output and its error file; ``False`` when it has moved meanwhile."""
    ended = await connection.fetchval(
        statements.load("file_batches/end.sql"), found.id, state, *files, now, found.state
    )
    if ended is not None:
        await webhooks.note_file_batch(connection, found.id, now)
    return ended is not None
