"""Shards: cut just in time in fair order, claimed under a fence, parked, done, rescued."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace import cutting
from headrace.complaint import last_made
from headrace.course import Course
from headrace.cutting import Line, Pace, Piece, Plan, Room
from headrace.held import HeldBatch, HeldItem, OpenAttempt, decode_json, read_made, read_outputs
from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.plan import CLASSES
from headrace.store import queue, statements
from headrace.store.progress import Deltas


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed shard; ``fence`` is this claim's token. ``idxs`` is set for a re-cut one."""

    shard_id: int
    batch_id: UUID
    idx_from: int
    idx_to: int
    is_range: bool
    fence: int
    express: bool = False


async def claim(
    connection: Any, shard_id: int, worker_id: int, now: datetime | None = None
) -> Claim | None:
    """Claim a shard in the caller's transaction; ``None`` when it is not open any more.

    Without ``now`` the shard does not count for the pace of its batch.
    """
    row = await connection.fetchrow(statements.load("shards/claim.sql"), shard_id, worker_id, now)
    if row is None:
        return None
    found = Claim(
        shard_id,
        row["batch_id"],
        row["idx_from"],
        row["idx_to"],
        row["idxs"] is None,
        row["fence"],
        row["express"],
    )
    if found.fence > 1:
        await connection.execute(
            statements.load("shards/suspect.sql"), *span(found), found.fence - 1
        )
    return found


async def handed_on(connection: Any, shard_id: int, classes: Sequence[str] | None) -> bool:
    """Put a shard back in the queue, under its class, where that is none of ``classes``."""
    if classes is None:
        return False
    found = await connection.fetchval(statements.load("shards/class.sql"), shard_id)
    if found is None or found in classes:
        return False
    await queue.enqueue(connection, [shard_id])
    return True


def span(found: Claim) -> tuple[UUID, int, int, int, bool]:
    """Return what tells a shard's items apart, as the statements take it."""
    return (found.batch_id, found.idx_from, found.idx_to, found.shard_id, found.is_range)


async def load(connection: Any, found: Claim, batch: HeldBatch) -> list[HeldItem]:
    """Return the open items of a claimed shard, in row order."""
    rows = await connection.fetch(statements.load("items/load.sql"), *span(found))
    return [_held(row, found, batch) for row in rows]


def _held(row: Any, found: Claim, batch: HeldBatch) -> HeldItem:
    outputs = read_outputs(row["outputs"])
    item = HeldItem(
        batch=batch,
        shard_id=found.shard_id,
        fence=found.fence,
        idx=row["idx"],
        state=ItemState(row["state"]),
        version=row["version"],
        stage=row["stage"],
        stage_saved=row["stage"],
        round=row["round"],
        tries=row["tries"],
        attempts=row["attempts"],
        crashes=row["crashes"],
        row=decode_json(row["inputs"]),
        outputs=outputs,
        spent_microcredits=row["spent_microcredits"],
        spent_saved=row["spent_microcredits"],
        priced_microcredits=row["priced_microcredits"],
        file=row["file"],
        previous=last_made(outputs),
        course=Course.from_json(decode_json(row["course"]) if row["course"] else None),
        made=read_made(row["made"]),
    )
    if row["number"] is not None:
        item.open_attempt = OpenAttempt(
            row["number"],
            row["key_number"],
            row["provider_request_id"],
            row["provider_url"],
            row["repeats"],
            row["provider"],
            row["lane"],
            row["fingerprint"],
            row["outcome"] == OutcomeKind.LOST_RESULT.value,
        )
    return item


async def cut_for_now(connection: Any, batch_id: UUID, now: datetime) -> int:
    """Cut the one item of a batch on demand into a shard that no queue hands out."""
    shard_id: int = await connection.fetchval(
        statements.load("shards/cut.sql"), batch_id, 0, 0, None, True, now
    )
    await connection.execute(statements.load("shards/advance.sql"), batch_id, 1)
    return shard_id


async def finish(connection: Any, shard_id: int, fence: int, now: datetime) -> None:
    """Mark a shard done, unless another worker holds it by now."""
    await connection.execute(statements.load("shards/done.sql"), shard_id, fence, now)


async def park(connection: Any, shard_id: int, fence: int) -> bool:
    """Park a shard of a paused batch; ``False`` when the batch is not paused (any more)."""
    row = await connection.fetchrow(statements.load("shards/park.sql"), shard_id, fence)
    return row is not None


async def cut(connection: Any, items_max: int, now: datetime) -> int:
    """Cut the next shards in fair order and enqueue them, in the caller's transaction.

    Only about twice the workers' appetite is kept in the queue, so that urgent work
    never stands behind a wall of bulk, and express shards beside them. Returns the number
    of shards cut; zero also when another process is cutting.
    """
    if not await connection.fetchval(statements.load("shards/try_lock.sql")):
        return 0
    row = await connection.fetchrow(statements.load("shards/room.sql"))
    rooms = await _rooms_apart(connection) if row["is_apart"] else [(CLASSES, _room(row))]
    if not any(room.shards or room.express for _, room in rooms):
        return 0
    lines, counters = await _lines(connection, items_max, now)
    if not lines:
        return 0
    paces = await _paces(connection, lines)
    pieces, served, levels = list[Piece](), counters, list[int]()
    for classes, room in rooms:
        own = [line for line in lines if line.class_name in classes]
        if not own:
            continue
        whole = sum(not piece.express for piece in pieces)
        left = replace(room, shards=min(room.shards, max(0, room.all_shards - whole)))
        plan = Plan(own, served, row["level"], left, items_max, paces)
        pieces, served, levels = pieces + plan.pieces, plan.counters, [*levels, plan.level]
    await _write(connection, pieces, served, min(levels), counters, now)
    return len(pieces)


def _room(row: Any) -> Room:
    appetite = max(1, row["appetite"])
    shards = max(0, appetite * cutting.SHARDS_AHEAD - row["open"])
    express = max(1, row["workers"]) * cutting.EXPRESS_PER_WORKER - row["express"]
    return Room(appetite, shards, max(0, express), shards)


async def _rooms_apart(connection: Any) -> list[tuple[tuple[str, ...], Room]]:
    """Return the room of each class by itself, where not all workers take all classes.

    A class fills no more than those can hold that take it, and all together no more than
    all can hold: so what one class leaves is enough for the workers of another.
    """
    rows = await connection.fetch(statements.load("shards/rooms.sql"), list(CLASSES))
    total = sum(row["open"] for row in rows)
    rooms: list[tuple[tuple[str, ...], Room]] = []
    for row in rows:
        ahead = row["appetite"] * cutting.SHARDS_AHEAD - row["open"]
        express = row["workers"] * cutting.EXPRESS_PER_WORKER - row["express"]
        left = max(0, row["whole"] * cutting.SHARDS_AHEAD - total)
        room = Room(max(1, row["appetite"]), min(left, max(0, ahead)), max(0, express), left)
        rooms.append(((row["class_name"],), room))
    return rooms


async def _lines(
    connection: Any, items_max: int, now: datetime
) -> tuple[list[Line], dict[str, int]]:
    """Return what each tenant has to be cut in each class, and the tenants' counters."""
    fresh = await connection.fetch(statements.load("shards/uncut.sql"), cutting.BESIDE_MAX)
    due = await connection.fetch(statements.load("shards/due.sql"), now, items_max)
    if not fresh and not due:
        return [], {}
    rows = await connection.fetch(statements.load("shards/present.sql"))
    there = {_line_of(row): row for row in rows}
    lines: dict[tuple[str, str, bytes], Line] = {}
    counters: dict[str, int] = {}
    for row in (*fresh, *due):
        key = _line_of(row)
        if key not in lines:
            line = lines[key] = Line(row["tenant_id"], row["class"], row["weight"], False)
            line.calls_max = row["calls_max"]
            counters[line.tenant_id] = row["served_cost"]
            if key in there:
                line.present, line.thin = there[key]["present"], there[key]["thin"]
                line.open = there[key]["open"]
                line.shards, line.items = there[key]["shards"], there[key]["items"]
    for row in fresh:
        line = lines[_line_of(row)]
        line.batch_id, line.cut_idx, line.end_idx = row["id"], row["cut_idx"], row["item_count"]
    for row in due:
        lines[_line_of(row)].due.append((row["id"], list(row["idxs"])))
    return list(lines.values()), counters


def _line_of(row: Any) -> tuple[str, str, bytes]:
    return row["tenant_id"], row["class"], row["recipe_version"]


async def _paces(connection: Any, lines: list[Line]) -> dict[UUID, Pace]:
    batch_ids = {line.batch_id for line in lines if line.batch_id is not None}
    batch_ids.update(batch_id for line in lines for batch_id, _ in line.due)
    rows = await connection.fetch(statements.load("shards/pace.sql"), list(batch_ids))
    return {row["id"]: Pace(row["items"], row["items_max"], row["seconds"]) for row in rows}


async def _write(
    connection: Any,
    pieces: list[Piece],
    counters: dict[str, int],
    level: int,
    before: dict[str, int],
    now: datetime,
) -> None:
    fresh = await _write_fresh(connection, pieces, now)
    made = [
        await _recut(connection, piece, piece.idxs, now) if piece.idxs is not None else next(fresh)
        for piece in pieces
    ]
    await queue.enqueue(connection, made)
    changed = {
        tenant_id: count for tenant_id, count in counters.items() if count != before[tenant_id]
    }
    await connection.execute(
        statements.load("shards/served.sql"), list(changed), list(changed.values())
    )
    await connection.execute(statements.load("shards/level.sql"), level)


async def _write_fresh(connection: Any, pieces: list[Piece], now: datetime) -> Iterator[int]:
    pieces = [piece for piece in pieces if piece.idxs is None]
    if not pieces:
        return iter(())
    rows = await connection.fetch(
        statements.load("shards/cut_ranges.sql"),
        [piece.batch_id for piece in pieces],
        [piece.idx_from for piece in pieces],
        [piece.idx_to for piece in pieces],
        [piece.express for piece in pieces],
        now,
    )
    reached = {piece.batch_id: piece.idx_to + 1 for piece in pieces}
    await connection.execute(
        statements.load("shards/reached.sql"), list(reached), list(reached.values())
    )
    return iter([row["id"] for row in rows])


async def _recut(connection: Any, piece: Piece, idxs: list[int], now: datetime) -> int:
    shard_id: int = await connection.fetchval(
        statements.load("shards/cut.sql"),
        piece.batch_id,
        piece.idx_from,
        piece.idx_to,
        idxs,
        piece.express,
        now,
    )
    woken = await connection.fetch(
        statements.load("shards/wake.sql"), piece.batch_id, idxs, shard_id
    )
    deltas = Deltas()
    deltas.of(piece.batch_id).add("waiting", -len(woken))
    deltas.of(piece.batch_id).add("pending", len(woken))
    await deltas.write(connection, now)
    return shard_id


async def rescue(connection: Any, own_worker_id: int, now: datetime) -> int:
    """Hand out again the shards of workers that are gone, and those whose job is lost.

    A worker is gone when the database let go of its session's lock, which happens the
    moment its process ends; nothing is ever rescued by age. Returns how many shards.
    """
    gone = [
        row["id"]
        for row in await connection.fetch(statements.load("workers/gone.sql"), own_worker_id)
    ]
    rows = await connection.fetch(statements.load("shards/orphans.sql"), gone)
    await queue.forget(connection, [row["job_id"] for row in rows if row["job_id"] is not None])
    await queue.enqueue(connection, [row["id"] for row in rows])
    if gone:
        await connection.execute(statements.load("workers/leave.sql"), gone, now)
    return len(rows)
