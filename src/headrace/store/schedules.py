"""Schedules at rest: added, listed, moved, removed; and the rows that they have had made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from headrace.errors import ConflictError, NotFoundError
from headrace.held import decode_json, encode_json
from headrace.identity import show_id
from headrace.schedule import SCHEDULE_PREFIX, SCHEDULES_MAX, Known, Schedule, Settings
from headrace.store import statements


async def insert(connection: Any, new: Schedule) -> None:
    """Write a schedule down; raises ``ConflictError``: the name is taken, or there are too many."""
    await connection.execute(statements.load("schedules/lock_tenant.sql"), new.tenant_id)
    named = statements.load("schedules/is_named.sql")
    if await connection.fetchval(named, new.tenant_id, new.name):
        raise ConflictError(
            f"there is a schedule {new.name!r} already",
            place="name",
            remedy="Give this one another name, or remove the other.",
        )
    inserted = await connection.fetchval(
        statements.load("schedules/insert.sql"), new.id, new.tenant_id, new.name, new.cron,
        new.timezone, new.recipe, encode_json(new.source).decode(),
        encode_json(new.settings).decode(), new.next_at, SCHEDULES_MAX, new.created_at,
    )  # fmt: skip
    if inserted is None:
        raise ConflictError(f"there are {SCHEDULES_MAX} schedules already", remedy="Remove one.")


async def listed(connection: Any, tenant_id: str) -> list[Schedule]:
    """Return a tenant's schedules, the oldest first."""
    rows = await connection.fetch(statements.load("schedules/list.sql"), tenant_id)
    return [_read(row) for row in rows]


async def find(connection: Any, tenant_id: str, schedule_id: UUID) -> Schedule:
    """Return a tenant's schedule; raises ``NotFoundError``."""
    sql = statements.load("schedules/find.sql")
    row = await connection.fetchrow(sql, tenant_id, schedule_id)
    if row is None:
        raise _gone(schedule_id)
    return _read(row)


async def read(connection: Any, schedule_id: UUID) -> Schedule | None:
    """Return a schedule, whoever's it is; ``None`` where it was removed."""
    row = await connection.fetchrow(statements.load("schedules/read.sql"), schedule_id)
    return None if row is None else _read(row)


async def hold(connection: Any, schedule_id: UUID) -> bool:
    """Keep a schedule from being removed until commit; ``False`` where it was."""
    found = await connection.fetchval(statements.load("schedules/hold.sql"), schedule_id)
    return found is not None


async def move(
    connection: Any, tenant_id: str, schedule_id: UUID, state: str, next_at: datetime | None
) -> None:
    """Pause a schedule, or let it go on from ``next_at``; raises ``NotFoundError``."""
    sql = statements.load("schedules/move.sql")
    if await connection.fetchval(sql, tenant_id, schedule_id, state, next_at) is None:
        raise _gone(schedule_id)


async def delete(connection: Any, tenant_id: str, schedule_id: UUID) -> None:
    """Remove a schedule with its ticks; its batches stay. Raises ``NotFoundError``."""
    sql = statements.load("schedules/delete.sql")
    if await connection.fetchval(sql, tenant_id, schedule_id) is None:
        raise _gone(schedule_id)


async def due(connection: Any, now: datetime, limit: int) -> list[Schedule]:
    """Return schedules whose next moment has come, held until the caller's commit."""
    rows = await connection.fetch(statements.load("schedules/due.sql"), now, limit)
    return [_read(row) for row in rows]


async def set_next(connection: Any, schedule_id: UUID, next_at: datetime | None) -> None:
    """Note the next moment that has not been looked at."""
    await connection.execute(statements.load("schedules/next.sql"), schedule_id, next_at)


async def known_rows(
    connection: Any, schedule_id: UUID, digests: Sequence[bytes]
) -> dict[bytes, Known]:
    """Return by digest what became of rows that were made before."""
    sql = statements.load("schedules/known_rows.sql")
    rows = await connection.fetch(sql, schedule_id, list(digests))
    return {row["digest"]: Known(row["tries"], row["state"], row["attempts"]) for row in rows}


async def keep_rows(
    connection: Any, schedule_id: UUID, batch_id: UUID, digests: list[bytes], tries: list[int]
) -> None:
    """Note the rows of a batch, in its order, in the transaction that writes it."""
    sql = statements.load("schedules/keep_rows.sql")
    await connection.execute(sql, schedule_id, batch_id, digests, tries)


def _read(row: Any) -> Schedule:
    told = dict(row)
    settings = msgspec.json.decode(told["settings"], type=Settings)
    return Schedule(**told | {"source": decode_json(told["source"]), "settings": settings})


def _gone(schedule_id: UUID) -> NotFoundError:
    name = show_id(SCHEDULE_PREFIX, schedule_id)
    return NotFoundError(
        f"there is no schedule {name}", remedy="'headrace schedule list' shows them."
    )
