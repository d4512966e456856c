"""Moments of schedules: each written once, made once, and kept with what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from headrace.errors import ConflictError
from headrace.held import decode_json, encode_json
from headrace.hours import Hours
from headrace.pause import Pause, PauseCode, read_pause
from headrace.schedule import Schedule, TickState
from headrace.store import batches, statements

_read_hours = msgspec.json.Decoder(Hours).decode

SHUT = Pause(PauseCode.HOURS, "outside of its hours", "It goes on by itself when they begin.")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tick ended: its batch if there is one, and what is told of it.

    ``shut_at``: its batch was paused at once, for its hours have not begun.
    """

    state: TickState
    told: dict[str, Any]
    batch_id: UUID | None = None
    has_windows: bool = False
    shut_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BoundBatch:
    """A batch that runs in some hours only, ``running`` or ``paused``."""

    schedule_id: UUID
    at: datetime
    batch_id: UUID
    shut_at: datetime | None
    state: str
    pause: Pause | None
    hours: Hours

    def moves(self, is_open: bool) -> bool:
        """Tell whether it is to be paused, or to go on: once for each end of its hours."""
        if is_open:
            return self.shut_at is not None
        return self.shut_at is None and self.state == "running"


async def add(
    connection: Any,
    schedule_id: UUID,
    at: datetime,
    *,
    skipped: dict[str, Any] | None = None,
    by_hand: bool = False,
) -> bool:
    """Write a moment down; ``skipped`` tells of one that is passed over.

    ``False`` where it is there already: then somebody else has seen to it.
    """
    state = TickState.DUE if skipped is None else TickState.SKIPPED
    told = None if skipped is None else encode_json(skipped).decode()
    sql = statements.load("schedules/add_tick.sql")
    ended_at = None if skipped is None else at
    added = await connection.fetchval(sql, schedule_id, at, state.value, told, by_hand, ended_at)
    return added is not None


async def add_by_hand(connection: Any, schedule: Schedule, now: datetime) -> None:
    """Write a moment that a person asks for; raises ``ConflictError`` while one is due."""
    sql = statements.load("schedules/is_due.sql")
    busy = await connection.fetchval(sql, schedule.id)
    if busy or not await add(connection, schedule.id, now, by_hand=True):
        raise ConflictError(
            f"a tick of {schedule.public_id} is due already",
            remedy="Wait for it; it needs a worker: 'headrace worker' or 'headrace serve'.",
        )


async def due(connection: Any, limit: int) -> list[tuple[UUID, datetime]]:
    """Return the first due tick of each schedule, the oldest first."""
    rows = await connection.fetch(statements.load("schedules/due_ticks.sql"), limit)
    return [(row["schedule_id"], row["at"]) for row in rows]


async def alone(connection: Any, schedule_id: UUID) -> bool:
    """Tell whether nobody else works on a schedule; nobody else does until the commit."""
    return bool(await connection.fetchval(statements.load("schedules/alone.sql"), str(schedule_id)))


async def count_try(connection: Any, schedule_id: UUID, at: datetime) -> int | None:
    """Count that a tick is tried; returns how often it was, ``None`` where it is not due."""
    tries: int | None = await connection.fetchval(
        statements.load("schedules/try.sql"), schedule_id, at
    )
    return tries


async def end(
    connection: Any, schedule_id: UUID, at: datetime, ended: Ended, now: datetime
) -> None:
    """End a due tick, in the transaction that writes its batch."""
    await connection.execute(
        statements.load("schedules/end_tick.sql"), schedule_id, at, ended.state.value,
        ended.batch_id, encode_json(ended.told).decode(), ended.has_windows, ended.shut_at, now,
    )  # fmt: skip


async def history(
    connection: Any, schedule_id: UUID, before: datetime | None, limit: int
) -> list[dict[str, Any]]:
    """Return ticks, the latest first, with what their batches have become."""
    sql = statements.load("schedules/ticks.sql")
    rows = await connection.fetch(sql, schedule_id, before, limit)
    return [dict(row) | {"told": decode_json(row["told"] or "{}")} for row in rows]


async def bound(connection: Any) -> list[BoundBatch]:
    """Return the batches that run in some hours only, and have not ended."""
    rows = await connection.fetch(statements.load("schedules/hours.sql"))
    return [
        BoundBatch(
            row["schedule_id"], row["at"], row["batch_id"], row["shut_at"], row["state"],
            read_pause(row["pause"]), _read_hours(row["hours"] or b"{}"),
        )
        for row in rows
    ]  # fmt: skip


async def keep_hours(
    connection: Any, batch: BoundBatch, is_open: bool, now: datetime
) -> str | None:
    """Pause a batch that ``moves``, or let it go on; in the caller's transaction.

    A person who has resumed it is not overruled. Returns ``shut`` or ``opened`` where it moved.
    """
    shut = statements.load("schedules/shut.sql")
    if not is_open:
        if not await batches.pause(connection, batch.batch_id, now, SHUT):
            return None
        await connection.execute(shut, batch.schedule_id, batch.at, now)
        return "shut"
    await connection.execute(shut, batch.schedule_id, batch.at, None)
    of_ours = batch.pause is not None and batch.pause.code is PauseCode.HOURS
    if batch.state == "paused" and of_ours:
        await batches.resume(connection, batch.batch_id, now)
        return "opened"
    return None


async def tidy(connection: Any, before: datetime) -> None:
    """Let ticks go that ended before; batches that have ended keep to no hours any more."""
    await connection.execute(statements.load("schedules/hours_over.sql"))
    await connection.execute(statements.load("schedules/prune.sql"), before)
