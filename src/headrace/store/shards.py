"""Shards: cut just in time in fair order, claimed under a fence, parked, done, rescued."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace import fairness
from headrace.fairness import Line
from headrace.held import HeldBatch, HeldItem, OpenAttempt, decode_json, read_outputs
from headrace.lifecycle import ItemState
from headrace.store import queue, statements
from headrace.store.progress import Deltas

SHARDS_PER_WORKER_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed shard; ``fence`` is this claim's token. ``idxs`` is set for a re-cut one."""

    shard_id: int
    batch_id: UUID
    idx_from: int
    idx_to: int
    is_range: bool
    fence: int


async def claim(connection: Any, shard_id: int, worker_id: int) -> Claim | None:
    """Claim a shard in the caller's transaction; ``None`` when it is not open any more."""
    row = await connection.fetchrow(statements.load("shards/claim.sql"), shard_id, worker_id)
    if row is None:
        return None
    found = Claim(
        shard_id,
        row["batch_id"],
        row["idx_from"],
        row["idx_to"],
        row["idxs"] is None,
        row["fence"],
    )
    if found.fence > 1:
        await connection.execute(
            statements.load("shards/suspect.sql"), *span(found), found.fence - 1
        )
    return found


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
        file=row["file"],
        previous=next(reversed(outputs.values())) if outputs else None,
    )
    if row["number"] is not None:
        item.open_attempt = OpenAttempt(
            row["number"],
            row["key_number"],
            row["provider_request_id"],
            row["provider_url"],
            row["repeats"],
        )
    return item


async def cut_for_now(connection: Any, batch_id: UUID, now: datetime) -> int:
    """Cut the one item of a batch on demand into a shard that no queue hands out."""
    shard_id: int = await connection.fetchval(
        statements.load("shards/cut.sql"), batch_id, 0, 0, None, now
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
    never stands behind a wall of bulk. Returns the number of shards cut; zero also
    when another process is cutting.
    """
    if not await connection.fetchval(statements.load("shards/try_lock.sql")):
        return 0
    row = await connection.fetchrow(statements.load("shards/room.sql"))
    appetite = max(1, row["appetite"])
    room = appetite * SHARDS_PER_WORKER_AHEAD - row["open"]
    if room <= 0:
        return 0
    made = await _cut_due(connection, room, items_max, now)
    made += await _cut_fresh(connection, room - len(made), items_max, appetite, now)
    await queue.enqueue(connection, made)
    return len(made)


async def _cut_due(connection: Any, room: int, items_max: int, now: datetime) -> list[int]:
    made: list[int] = []
    rows = await connection.fetch(statements.load("shards/due.sql"), now, items_max * room)
    for row in rows:
        for at in range(0, len(row["idxs"]), items_max):
            if len(made) >= room:
                return made
            idxs = row["idxs"][at : at + items_max]
            made.append(await _recut(connection, row["batch_id"], idxs, now))
    return made


async def _recut(connection: Any, batch_id: UUID, idxs: list[int], now: datetime) -> int:
    shard_id: int = await connection.fetchval(
        statements.load("shards/cut.sql"), batch_id, idxs[0], idxs[-1], idxs, now
    )
    woken = await connection.fetch(statements.load("shards/wake.sql"), batch_id, idxs, shard_id)
    deltas = Deltas()
    deltas.of(batch_id).add("waiting", -len(woken))
    deltas.of(batch_id).add("pending", len(woken))
    await deltas.write(connection, now)
    return shard_id


async def _cut_fresh(
    connection: Any, room: int, items_max: int, appetite: int, now: datetime
) -> list[int]:
    made: list[int] = []
    rows = await connection.fetch(statements.load("shards/uncut.sql")) if room > 0 else []
    left = {(row["tenant_id"], row["class"]): row for row in rows}
    at = {key: row["cut_idx"] for key, row in left.items()}
    counters = {row["tenant_id"]: row["served_cost"] for row in rows}
    first_counters = dict(counters)
    counters = fairness.lift(counters, max(counters.values(), default=0) - items_max * appetite)
    while left and len(made) < room:
        lines = [
            Line(tenant_id, class_name, row["weight"], counters[tenant_id])
            for (tenant_id, class_name), row in left.items()
        ]
        line = fairness.next_line(lines)
        key = (line.tenant_id, line.class_name)
        row = left[key]
        size = shard_size(row["item_count"] - at[key], items_max, appetite)
        made.append(
            await connection.fetchval(
                statements.load("shards/cut.sql"), row["id"], at[key], at[key] + size - 1, None, now
            )
        )
        at[key] += size
        counters[line.tenant_id] = fairness.charge(line, size)
        await connection.execute(statements.load("shards/advance.sql"), row["id"], at[key])
        if at[key] >= row["item_count"]:
            del left[key]
    for tenant_id, count in counters.items():
        if count != first_counters[tenant_id]:
            await connection.execute(statements.load("shards/served.sql"), tenant_id, count)
    return made


def shard_size(items_left: int, items_max: int, appetite: int) -> int:
    """Return how many items the next shard gets: all workers busy, none with too large a piece."""
    even = -(-items_left // max(1, appetite))
    return max(1, min(items_left, items_max, max(even, 10)))


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
