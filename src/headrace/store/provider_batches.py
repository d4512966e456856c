"""Batches at providers at rest: their lines, their steps, and the answers until they are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.lifecycle import AttemptState
from headrace.outcome import OutcomeKind
from headrace.provider_batch import Bounds, LineEnd
from headrace.store import budgets, statements
from headrace.store.progress import Deltas
from headrace.telemetry import crash_point

LINE_BYTES = 200
"""What a line takes in its file beside its request: key, method, address."""
_OWNERLESS_MAX = 200


@dataclass(slots=True)
class NewLine:
    """The request of one item, to be handed in; ``tokens`` is the most it takes of the lane."""

    key: str
    tenant_id: str
    batch_id: UUID
    idx: int
    fingerprint: bytes
    provider: str
    group: str
    body: bytes
    tokens: int
    rescue_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A line as its item sees it. ``is_other``: another item's, who buys the same."""

    state: str
    rescue_at: datetime
    status: int | None = None
    answer: bytes | None = None
    reason: str | None = None
    remote_id: str | None = None
    is_other: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A provider batch in the hands of this worker."""

    id: UUID
    provider: str
    group: str
    state: str
    lines: int
    rescue_at: datetime
    uploaded: str | None
    remote_id: str | None
    cancel_at: datetime | None
    created_at: datetime
    creating_at: datetime | None
    sent_at: datetime | None


@dataclass(slots=True)
class Step:
    """What one step of a provider batch changes; ``None`` leaves a field as it is."""

    state: str
    next_at: datetime
    uploaded: str | None = None
    remote_id: str | None = None
    cancel_at: datetime | None = None
    reason: str | None = None


def _load(name: str) -> str:
    return statements.load(f"provider_batches/{name}.sql")


# -- lines and their items ---------------------------------------------------------------------


async def enrol(connection: Any, lines: Sequence[NewLine], now: datetime) -> list[Line]:
    """Write lines down and return each as it stands; a line that is there is not changed.

    Where another item's line buys the same, that one is returned, and the item is noted as
    waiting for it.
    """
    await connection.execute(
        _load("enrol"),
        [line.key for line in lines],
        [line.tenant_id for line in lines],
        [line.batch_id for line in lines],
        [line.idx for line in lines],
        [line.fingerprint for line in lines],
        [line.provider for line in lines],
        [line.group for line in lines],
        [line.body for line in lines],
        [line.tokens for line in lines],
        [line.rescue_at for line in lines],
        now,
    )
    rows = await connection.fetch(_load("read"), [line.key for line in lines])
    own = {row["key"]: row for row in rows}
    others = await _others(connection, [line for line in lines if line.key not in own])
    crash_point("line-before-commit")
    return [_line(own[one.key]) if one.key in own else others[one.key] for one in lines]


async def _others(connection: Any, lines: list[NewLine]) -> dict[str, Line]:
    if not lines:
        return {}
    rows = await connection.fetch(
        _load("twins"),
        [line.tenant_id for line in lines],
        [line.fingerprint for line in lines],
    )
    twins = {(row["tenant_id"], row["fingerprint"]): row for row in rows}
    found: dict[str, Line] = {}
    waits: list[tuple[UUID, int, str]] = []
    for line in lines:
        twin = twins.get((line.tenant_id, line.fingerprint))
        if twin is not None:
            waits.append((line.batch_id, line.idx, twin["key"]))
        # Without a twin: it ended between the two statements, and a later look will do.
        found[line.key] = Line(
            "waiting", line.rescue_at if twin is None else twin["rescue_at"], is_other=True
        )
    if waits:
        columns = [list(column) for column in zip(*waits, strict=True)]
        await connection.execute(_load("wait"), *columns)
    return found


def _line(row: Any) -> Line:
    return Line(
        row["state"],
        row["rescue_at"],
        row["status"],
        row["answer"],
        row["reason"],
        row["remote_id"],
    )


async def clear(connection: Any, now: datetime) -> tuple[int, list[Any]]:
    """Take out what nobody needs: unsent lines of items that are over, ends that were taken.

    Lets items go on that waited for what is gone. Returns how many those are, and the
    executed lines whose items were cancelled meanwhile, to be billed by ``bill``.
    """
    unsent = await connection.fetch(_load("unsent"))
    deltas = Deltas()
    if unsent:
        rows = await connection.fetch(
            statements.load("attempts/resolve.sql"),
            [row["batch_id"] for row in unsent],
            [row["idx"] for row in unsent],
            [row["number"] for row in unsent],
            now,
            [False] * len(unsent),
        )
        budgets.count_landed(deltas, rows)
        await deltas.write(connection, now)
    ownerless = await connection.fetch(_load("ownerless"), _OWNERLESS_MAX)
    await connection.execute(_load("taken"))
    woken = await connection.fetch(_load("wake_others"), now)
    return len(woken), ownerless


async def bill(
    connection: Any, rows: Sequence[Any], costs: Sequence[int | None], now: datetime
) -> None:
    """Close the attempts of lines whose items are over, at what they cost.

    ``None``: nobody knows, and the worst case stays counted.
    """
    deltas = Deltas()
    landed = await connection.fetch(
        statements.load("attempts/end.sql"),
        [row["batch_id"] for row in rows],
        [row["idx"] for row in rows],
        [row["number"] for row in rows],
        [AttemptState.RESOLVED.value] * len(rows),
        [OutcomeKind.CANCELLED.value] * len(rows),
        [None] * len(rows),
        [None] * len(rows),
        [0] * len(rows),
        [None] * len(rows),
        [None] * len(rows),
        now,
        [cost is None for cost in costs],
        list(costs),
    )
    budgets.count_landed(deltas, landed)
    known = [(row, cost) for row, cost in zip(rows, costs, strict=True) if cost]
    await connection.execute(
        _load("bill"),
        [row["batch_id"] for row, _ in known],
        [row["idx"] for row, _ in known],
        [cost for _, cost in known],
    )
    for row, cost in known:
        deltas.of(row["batch_id"]).add("cost_estimate_microusd", cost)
    await deltas.write(connection, now)


# -- gathering ---------------------------------------------------------------------------------


async def free(connection: Any) -> list[Any]:
    """Return what waits to be handed in: provider, line_group, lines, bytes, first_at, last_at."""
    rows: list[Any] = await connection.fetch(_load("free"))
    return rows


async def gather(
    connection: Any,
    new_id: UUID,
    holder_id: int,
    provider: str,
    group: str,
    bounds: Bounds,
    now: datetime,
) -> int:
    """Make a provider batch of free lines, in the caller's transaction; return how many.

    None are taken while the tokens that are queued leave no room.
    """
    tokens_max = bounds.tokens_max
    if tokens_max is not None:
        queued: int = await connection.fetchval(_load("queued"), provider, group)
        if queued >= tokens_max:
            return 0
        tokens_max -= queued
    await connection.execute(_load("insert"), new_id, provider, group, now, holder_id)
    row = await connection.fetchrow(
        _load("gather"),
        new_id,
        provider,
        group,
        bounds.lines_max,
        bounds.bytes_max,
        tokens_max,
        LINE_BYTES,
    )
    if not row["lines"]:
        await connection.execute(_load("drop"), new_id)
        return 0
    lines: int = row["lines"]
    await connection.execute(_load("counted"), new_id, lines, row["tokens"], row["rescue_at"])
    return lines


# -- steps -------------------------------------------------------------------------------------


async def adopt(connection: Any, holder_id: int) -> int:
    """Take over the provider batches of workers that are gone; return how many."""
    return len(await connection.fetch(_load("adopt"), holder_id))


async def due(connection: Any, holder_id: int, now: datetime) -> list[Held]:
    """Return the provider batches of this worker that a step is due for."""
    rows = await connection.fetch(_load("due"), holder_id, now)
    return [
        Held(
            row["id"],
            row["provider"],
            row["line_group"],
            row["state"],
            row["lines"],
            row["rescue_at"],
            row["uploaded"],
            row["remote_id"],
            row["cancel_at"],
            row["created_at"],
            row["creating_at"],
            row["sent_at"],
        )
        for row in rows
    ]


async def next_due(connection: Any, holder_id: int) -> datetime | None:
    """Return when the next step of this worker's provider batches is due."""
    at: datetime | None = await connection.fetchval(_load("next_due"), holder_id)
    return at


async def move(connection: Any, held: Held, holder_id: int, step: Step, now: datetime) -> bool:
    """Write a step down; ``False`` when another worker holds the provider batch by now."""
    row = await connection.fetchrow(
        _load("move"),
        held.id,
        holder_id,
        step.state,
        step.next_at,
        step.uploaded,
        step.remote_id,
        now,
        step.cancel_at,
        step.reason,
    )
    return row is not None


async def lines(connection: Any, held: Held, behind: str, most: int) -> list[tuple[str, bytes]]:
    """Return the next lines of a provider batch in the order of their keys, with their requests."""
    rows = await connection.fetch(_load("lines"), held.id, behind, most)
    return [(row["key"], row["body"]) for row in rows]


async def keys(connection: Any, held: Held, most: int) -> list[str]:
    """Return some keys of a provider batch."""
    return [row["key"] for row in await connection.fetch(_load("keys"), held.id, most)]


async def known(connection: Any, held: Held, since: datetime) -> list[str]:
    """Return the providers' ids of our batches at one provider, those made since then."""
    rows = await connection.fetch(_load("known"), held.provider, since)
    return [row["remote_id"] for row in rows]


async def answer(connection: Any, held: Held, ends: Sequence[LineEnd], now: datetime) -> None:
    """Write the ends of lines down and let their items go on."""
    rows = await connection.fetch(
        _load("answer"),
        held.id,
        [end.key for end in ends],
        ["answered" if end.is_executed else "unexecuted" for end in ends],
        [end.status for end in ends],
        [end.body if end.is_executed else None for end in ends],
        [end.reason for end in ends],
    )
    await connection.execute(_load("wake"), [row["key"] for row in rows], now)
    crash_point("answers-before-commit")


async def end_left(connection: Any, held: Held, state: str, reason: str, now: datetime) -> int:
    """End all lines without an answer as ``lost`` or ``unexecuted``; return how many."""
    rows = await connection.fetch(_load("left"), held.id, state, reason)
    await connection.execute(_load("wake"), [row["key"] for row in rows], now)
    return len(rows)


async def put_back(connection: Any, held: Held, now: datetime) -> int:
    """Let the lines of a provider batch of which nothing was executed be gathered again."""
    return len(await connection.fetch(_load("back"), held.id, now))


async def is_wanted(connection: Any, held: Held) -> bool:
    """Tell whether any item still waits for what a provider batch makes."""
    found: bool = await connection.fetchval(_load("is_wanted"), held.id)
    return found


async def untaken_bytes(connection: Any, provider: str) -> int:
    """Return the bytes of answers that no item has taken yet."""
    found: int = await connection.fetchval(_load("untaken"), provider)
    return found
