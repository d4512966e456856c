"""What people ask of the database: balances, the cache, why items wait, what befell them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.store import statements


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds; ``tenant_id`` is ``None`` for the accounts of the house."""

    tenant_id: str | None
    kind: str
    balance_microcredits: int
    unlimited: bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """Transfers of one kind, batch and reason, taken together."""

    created_at: datetime
    kind: str
    transfers: int
    amount_microcredits: int
    batch_id: UUID | None
    reason: str
    debit: str
    credit: str


@dataclass(frozen=True, slots=True)
class CacheStats:
    """How much the cache holds, and how many delivered items it has served so far."""

    live: int
    expired: int
    claimed: int
    size_bytes: int
    oldest_at: datetime | None
    items_cached: int
    items_succeeded: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Why some items of a batch wait, and when the first of them is due."""

    items: int
    due_at: datetime
    code: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Items that ended badly for the same cause; ``first_row`` counts from 1."""

    items: int
    state: str
    first_row: int
    code: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class StaleWorker:
    """A worker that never signed out and is gone."""

    id: int
    host: str
    pid: int
    started_at: datetime


async def balances(connection: Any, tenant_id: str | None = None) -> list[Balance]:
    """Return the accounts of a tenant (of all, for ``None``) and of the house."""
    rows = await connection.fetch(statements.load("ledger/balances.sql"), tenant_id)
    return [Balance(*row.values()) for row in rows]


async def entries(connection: Any, tenant_id: str | None, limit: int) -> list[Entry]:
    """Return the latest entries, newest first."""
    rows = await connection.fetch(statements.load("ledger/entries.sql"), tenant_id, limit)
    return [Entry(*row.values()) for row in rows]


async def cache_stats(connection: Any, now: datetime) -> CacheStats:
    """Return what the cache holds at ``now``."""
    row = await connection.fetchrow(statements.load("cache/stats.sql"), now)
    return CacheStats(*row.values())


async def cache_prune(
    connection: Any, now: datetime, made_before: datetime | None = None
) -> tuple[int, int]:
    """Forget results past their time, and those made before ``made_before``.

    Returns how many, and their bytes. Artifacts stay: items refer to them.
    """
    rows = await connection.fetch(statements.load("cache/prune.sql"), made_before, now)
    return len(rows), sum(row["size_bytes"] or 0 for row in rows)


async def waits(connection: Any, batch_id: UUID) -> list[Wait]:
    """Return why items of a batch wait, the commonest reason first."""
    rows = await connection.fetch(statements.load("items/waits.sql"), batch_id)
    return [Wait(*row.values()) for row in rows]


async def failures(connection: Any, batch_id: UUID, limit: int = 10) -> list[Failure]:
    """Return what befell the items that ended badly, the commonest first."""
    rows = await connection.fetch(statements.load("items/failures.sql"), batch_id, limit)
    return [
        Failure(
            row["items"],
            row["state"],
            row["first_idx"] + 1,
            row["code"],
            row["reason"] or "no reason was recorded",
            row["remedy"] or "",
        )
        for row in rows
    ]


async def unfinished(connection: Any, tenant_id: str) -> list[UUID]:
    """Return the tenant's batches that have not ended, the oldest first."""
    rows = await connection.fetch(statements.load("batches/unfinished.sql"), tenant_id)
    return [row["id"] for row in rows]


async def stale_workers(connection: Any) -> list[StaleWorker]:
    """Return workers that never signed out and whose session is gone."""
    rows = await connection.fetch(statements.load("workers/stale.sql"))
    return [StaleWorker(*row.values()) for row in rows]
