"""Data that goes: of a batch that is forgotten or past its time, and artifacts that are nobody's.

Everything runs in the caller's transaction. The ledger and what its audit needs stay: who
owned a batch, how its items ended, what they cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.errors import ConflictError, NotFoundError
from headrace.identity import show_batch_id
from headrace.store import cache_secrets, statements

KINDS = ("inputs", "artifacts", "events")


async def erase(connection: Any, batch_id: UUID, kinds: Iterable[str], now: datetime) -> None:
    """Remove ``kinds`` of an ended batch's data; the caller has locked it."""
    told = list(kinds)
    if "artifacts" in told:
        # First the cache: it is found by what attempts and items still say.
        cached = await connection.fetch(statements.load("erasure/uncache.sql"), batch_id)
        await connection.execute(statements.load("erasure/attempts.sql"), batch_id)
        made = await connection.fetch(statements.load("erasure/outputs.sql"), batch_id)
        sha256s = {row["sha256"] for row in (*cached, *made) if row["sha256"]}
        await doom(connection, sha256s, now)
        # Copies in a shared cache cannot be opened from the commit on.
        await cache_secrets.renew(connection, (row["tenant_id"] for row in cached))
    if "inputs" in told:
        await connection.execute(statements.load("erasure/inputs.sql"), batch_id)
    if "events" in told:
        await connection.execute(statements.load("erasure/events.sql"), batch_id)
    await connection.execute(statements.load("erasure/gone.sql"), batch_id, told, now)


async def forget(connection: Any, tenant_id: str | None, batch_id: UUID, now: datetime) -> None:
    """Forget an ended batch, that of a file with its files.

    ``tenant_id`` is who asks, ``None`` for the operator. Raises ``NotFoundError``, also where
    it is another's or forgotten already, and ``ConflictError`` while it runs.
    """
    batch = await connection.fetchrow(statements.load("erasure/lock.sql"), batch_id)
    of_file = await connection.fetchrow(statements.load("erasure/lock_file_batch.sql"), batch_id)
    found = batch or of_file
    if found is None or (batch is not None and batch["is_forgotten"]):
        raise _not_there(batch_id)
    if tenant_id is not None and found["tenant_id"] != tenant_id:
        raise _not_there(batch_id)
    if not all(one["is_over"] for one in (batch, of_file) if one is not None):
        raise ConflictError(
            f"batch {show_batch_id(batch_id)} still runs",
            remedy="Cancel it first, and wait for its end.",
        )
    if of_file is not None:
        await _drop_files(connection, batch_id, of_file, now)
    if batch is not None:
        await erase(connection, batch_id, KINDS, now)
        await connection.execute(statements.load("erasure/drop_answer.sql"), batch_id)
        await connection.execute(statements.load("erasure/forget.sql"), batch_id, now)
    await connection.execute(statements.load("erasure/drop_outbox.sql"), batch_id)


def _not_there(batch_id: UUID) -> NotFoundError:
    return NotFoundError(f"there is no batch {show_batch_id(batch_id)}")


async def _drop_files(connection: Any, batch_id: UUID, of_file: Any, now: datetime) -> None:
    ids = [of_file[name] for name in ("input_file_id", "output_file_id", "error_file_id")]
    await connection.execute(statements.load("erasure/drop_file_batch.sql"), batch_id)
    rows = await connection.fetch(
        statements.load("erasure/drop_files.sql"),
        [one for one in ids if one is not None],
        of_file["tenant_id"],
    )
    await leave(connection, [row["sha256"] for row in rows], now)


async def forget_rest(connection: Any, tenant_id: str, now: datetime) -> None:
    """Remove a tenant's files, cached results, webhooks, schedules; its batches went before."""
    rows = await connection.fetch(statements.load("erasure/drop_all_files.sql"), tenant_id)
    await leave(connection, [row["sha256"] for row in rows], now)
    cached = await connection.fetch(statements.load("erasure/uncache_all.sql"), tenant_id)
    await doom(connection, {row["sha256"] for row in cached if row["sha256"]}, now)
    for name in ("drop_answers", "drop_webhooks", "drop_schedules"):
        await connection.execute(statements.load(f"erasure/{name}.sql"), tenant_id)
    await cache_secrets.renew(connection, [tenant_id])


async def doom(connection: Any, sha256s: Iterable[bytes], now: datetime) -> None:
    """Let artifacts leave after the grace if nobody else has them by then."""
    await connection.execute(statements.load("erasure/doom.sql"), list(sha256s), now)


async def leave(connection: Any, sha256s: Iterable[bytes], due_at: datetime) -> None:
    """Let blobs be looked at from ``due_at`` on, and leave if they are nobody's."""
    await connection.execute(statements.load("erasure/leave.sql"), list(sha256s), due_at)


async def batches_of(connection: Any, tenant_id: str) -> list[tuple[UUID, bool]]:
    """Return a tenant's batches, and whether each is over; raises ``NotFoundError``."""
    if not await connection.fetchval(statements.load("erasure/tenant.sql"), tenant_id):
        raise NotFoundError(f"there is no tenant {tenant_id[:80]!r}")
    rows = await connection.fetch(statements.load("erasure/tenant_batches.sql"), tenant_id)
    return [(row["id"], row["is_over"]) for row in rows]


async def past_their_time(
    connection: Any, now: datetime, days: tuple[int | None, int | None, int | None]
) -> list[tuple[UUID, list[str]]]:
    """Return some batches with the kinds of their data that are past their time.

    ``days`` are those of tenants without settings of their own, in the order of ``KINDS``.
    """
    rows = await connection.fetch(statements.load("erasure/due.sql"), now, *days)
    return [(row["id"], [kind for kind in KINDS if row[kind]]) for row in rows]


async def erase_if_over(connection: Any, batch_id: UUID, kinds: list[str], now: datetime) -> None:
    """Remove ``kinds`` of a batch's data, unless it was opened again meanwhile."""
    found = await connection.fetchrow(statements.load("erasure/lock.sql"), batch_id)
    if found is not None and found["is_over"]:
        await erase(connection, batch_id, kinds, now)


async def retention(connection: Any, tenant_id: str) -> dict[str, int | None] | None:
    """Return a tenant's own days, ``None`` where it has those of the settings."""
    row = await connection.fetchrow(statements.load("erasure/retention.sql"), tenant_id)
    return None if row is None else dict(row)


async def set_retention(
    connection: Any,
    tenant_id: str,
    told: Mapping[str, int | None],
    settings: tuple[int | None, int | None, int | None],
) -> dict[str, int | None]:
    """Give a tenant days of its own; ``None`` keeps for good. Returns all that it has now.

    What is not ``told`` stays; where the tenant had none, it is that of ``settings``, in the
    order of ``KINDS``. One statement: of two at once, each sets what it tells.
    """
    inputs, artifacts, events = settings
    row = await connection.fetchrow(
        statements.load("erasure/set_retention.sql"),
        tenant_id,
        told.get("inputs_days", inputs),
        told.get("artifacts_days", artifacts),
        told.get("events_days", events),
        list(told),
    )
    return dict(row)
