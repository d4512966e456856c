"""Workers as the database knows them: signs of life, what they hold, and handing it over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from headrace.errors import NoWorkerError
from headrace.store import queue, statements


class WorkerState(StrEnum):
    """``SILENT``: its session stands, but it has not been heard of for three heartbeats."""

    WORKING = "working"
    DRAINING = "draining"
    SILENT = "silent"
    GONE = "gone"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """One worker, with what is in its hands; ``classes`` is ``None`` where it takes all."""

    id: int
    host: str
    pid: int
    version: str
    state: WorkerState
    shards: int
    express: int
    shards_held: int
    classes: list[str] | None
    started_at: datetime
    heartbeat_at: datetime | None
    ended_at: datetime | None


async def seen(
    connection: Any, now: datetime, heartbeat_s: float, since: datetime
) -> list[WorkerSeen]:
    """Return the workers that are signed in, and those that ended after ``since``."""
    rows = await connection.fetch(statements.load("workers/list.sql"), since)
    return [
        WorkerSeen(
            row["id"],
            row["host"],
            row["pid"],
            row["version"],
            _state(row, now, heartbeat_s),
            row["shards"],
            row["express"],
            row["shards_held"],
            row["classes"],
            row["started_at"],
            row["heartbeat_at"],
            row["ended_at"],
        )
        for row in rows
    ]


def _state(row: Any, now: datetime, heartbeat_s: float) -> WorkerState:
    if row["ended_at"] is not None:
        return WorkerState.ENDED
    if not row["is_there"]:
        return WorkerState.GONE
    beat = row["heartbeat_at"]
    # Those of a release before this one never beat.
    if beat is not None and (now - beat).total_seconds() > 3 * heartbeat_s:
        return WorkerState.SILENT
    return WorkerState.DRAINING if row["draining_at"] is not None else WorkerState.WORKING


async def need_one(connection: Any) -> None:
    """Raise ``NoWorkerError`` where no worker is signed in."""
    if not await connection.fetchval(statements.load("workers/live.sql")):
        raise NoWorkerError(
            "this process makes nothing itself, and no worker is signed in",
            remedy="Start 'headrace worker' on the same database, or 'headrace serve' without "
            "--no-worker, and ask again.",
        )


async def beat(connection: Any, worker_id: int, draining: bool, now: datetime) -> None:
    """Give a sign of life."""
    await connection.execute(statements.load("workers/beat.sql"), worker_id, now, draining)


async def hand_over(connection: Any, worker_id: int, now: datetime) -> int:
    """Give all shards of a worker to others and sign it out, in the caller's transaction.

    What it still writes afterwards is refused. Returns how many shards.
    """
    rows = await connection.fetch(statements.load("workers/held.sql"), worker_id)
    await queue.forget(connection, [row["job_id"] for row in rows if row["job_id"] is not None])
    await queue.enqueue(connection, [row["id"] for row in rows])
    await connection.execute(statements.load("workers/leave.sql"), [worker_id], now)
    return len(rows)
