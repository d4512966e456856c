"""Group commit of starts: attempts written ahead, under the fence, with their claims."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.errors import FenceLostError
from headrace.lifecycle import ItemState
from headrace.store import budgets, ledger, statements
from headrace.store.ledger import Accounts, Transfer
from headrace.store.progress import Deltas
from headrace.store.writes import Start, StartEnd
from headrace.telemetry import crash_point

_STARTABLE = ("canary", "running")
_NEVER = datetime.fromisoformat("0001-01-01T00:00:00+00:00")

Answer = StartEnd | FenceLostError
Key = tuple[UUID, int]


async def write(
    connection: Any, starts: list[Start], accounts: Accounts, now: datetime
) -> list[Answer]:
    """Write ``starts`` in the caller's transaction; returns one answer for each, in order."""
    answers: dict[Key, Answer] = {}
    caps: dict[UUID, int] = {}
    allowed = await _fenced(connection, starts, answers, caps)
    claimed = await _claim(connection, allowed, answers, now)
    if caps:
        claimed = await _affordable(connection, claimed, accounts, answers, caps)
    granted = await _start(connection, claimed, answers, now)
    deltas = Deltas()
    await _supersede(connection, granted, accounts, deltas, now)
    _count(granted, deltas)
    await deltas.write(connection, now)
    crash_point("start-before-commit")
    return [answers[start.batch_id, start.idx] for start in starts]


async def _fenced(
    connection: Any, starts: list[Start], answers: dict[Key, Answer], caps: dict[UUID, int]
) -> list[Start]:
    rows = await connection.fetch(
        statements.load("shards/lock_running.sql"), list({start.shard_id for start in starts})
    )
    live = {row["id"]: (row["fence"], row["state"], row["cost_cap_microusd"]) for row in rows}
    allowed = []
    for start in starts:
        fence, state, cap = live.get(start.shard_id, (None, None, None))
        if fence != start.fence:
            answers[start.batch_id, start.idx] = FenceLostError("another worker holds the shard")
        elif state not in _STARTABLE:
            answers[start.batch_id, start.idx] = StartEnd.GONE
        else:
            allowed.append(start)
            if cap is not None:
                caps[start.batch_id] = cap
    return allowed


async def _claim(
    connection: Any, starts: list[Start], answers: dict[Key, Answer], now: datetime
) -> list[Start]:
    groups: dict[datetime | None, list[Start]] = {}
    for start in starts:
        if start.claim:
            groups.setdefault(start.refresh_before, []).append(start)
    won: set[tuple[str, bytes]] = set()
    for refresh_before, group in groups.items():
        rows = await connection.fetch(
            statements.load("cache/claim.sql"),
            [start.tenant_id for start in group],
            [start.fingerprint for start in group],
            [start.shard_id for start in group],
            [start.fence for start in group],
            now,
            refresh_before or _NEVER,
            [start.batch_id for start in group],
            [start.idx for start in group],
        )
        won.update((row[0], row[1]) for row in rows)
    claimed = []
    for start in starts:
        if start.claim and (start.tenant_id, start.fingerprint) not in won:
            answers[start.batch_id, start.idx] = StartEnd.FLIGHT
        else:
            claimed.append(start)
    return claimed


async def _affordable(
    connection: Any,
    starts: list[Start],
    accounts: Accounts,
    answers: dict[Key, Answer],
    caps: dict[UUID, int],
) -> list[Start]:
    """Return the starts that fit under their batches' caps; the others may not start now."""
    again = {start.tenant_id for start in starts if start.overrun_microcredits > 0}
    if again:
        # Settles take accounts before counts; who takes both has to do the same.
        await accounts.know(connection, again)
        both = [accounts.id(None, "overrun"), accounts.id(None, "revenue")]
        await connection.execute(statements.load("ledger/lock.sql"), both)
    fitting, refused = await budgets.admit(connection, starts, caps)
    for start in refused:
        answers[start.batch_id, start.idx] = StartEnd.GONE
    await release(connection, [start for start in refused if start.claim])
    return fitting


async def _start(
    connection: Any, starts: list[Start], answers: dict[Key, Answer], now: datetime
) -> list[Start]:
    if not starts:
        return []
    rows = await connection.fetch(
        statements.load("items/start.sql"),
        [s.batch_id for s in starts],
        [s.idx for s in starts],
        [s.version for s in starts],
        [s.number for s in starts],
        [s.key_number for s in starts],
        [s.round for s in starts],
        [s.stage for s in starts],
        [s.tries for s in starts],
        [s.provider for s in starts],
        [s.lane for s in starts],
        [s.fingerprint for s in starts],
        [s.shard_id for s in starts],
        [s.fence for s in starts],
        [s.cost_max_microusd for s in starts],
        now,
        [s.provider_request_id for s in starts],
        [s.provider_url for s in starts],
        [s.course for s in starts],
    )
    moved = None if len(rows) == len(starts) else {(row[0], row[1]) for row in rows}
    granted, gone = [], []
    for start in starts:
        if moved is None or (start.batch_id, start.idx) in moved:
            answers[start.batch_id, start.idx] = StartEnd.GRANTED
            granted.append(start)
        else:
            answers[start.batch_id, start.idx] = StartEnd.GONE
            gone.append(start)
    await release(connection, [start for start in gone if start.claim])
    return granted


async def release(connection: Any, holders: list[Any]) -> None:
    """Give back the claims that ``holders`` (starts or settles) have on their fingerprints."""
    if holders:
        await connection.execute(
            statements.load("cache/release.sql"),
            [holder.tenant_id for holder in holders],
            [holder.fingerprint for holder in holders],
            [holder.shard_id for holder in holders],
            [holder.fence for holder in holders],
        )


async def _supersede(
    connection: Any, starts: list[Start], accounts: Accounts, deltas: Deltas, now: datetime
) -> None:
    again = [start for start in starts if start.supersedes is not None]
    if not again:
        return
    rows = await connection.fetch(
        statements.load("attempts/resolve.sql"),
        [start.batch_id for start in again],
        [start.idx for start in again],
        [start.supersedes for start in again],
        now,
        [start.repeats for start in again],
    )
    budgets.count_landed(deltas, rows)
    paid = [start for start in again if start.overrun_microcredits > 0]
    if not paid:
        return
    await accounts.know(connection, {start.tenant_id for start in paid})
    overrun, revenue = accounts.id(None, "overrun"), accounts.id(None, "revenue")
    await ledger.write(
        connection,
        [
            Transfer(
                "overrun",
                overrun,
                revenue,
                start.overrun_microcredits,
                start.batch_id,
                start.idx,
                start.round,
                start.number,
                "bought again: the answer of an earlier attempt was never seen",
            )
            for start in paid
        ],
        now,
    )


def _count(starts: list[Start], deltas: Deltas) -> None:
    for start in starts:
        delta = deltas.of(start.batch_id)
        delta.move(start.from_state, ItemState.RUNNING)
        delta.add("attempts")
        if start.repeats:
            delta.add("repeats")
        delta.add("in_flight_microusd", start.cost_max_microusd or 0)


async def already(connection: Any, starts: list[Start]) -> dict[Key, StartEnd]:
    """Return the starts whose commit went through although its reply was lost."""
    rows = await connection.fetch(
        statements.load("items/versions.sql"),
        [start.batch_id for start in starts],
        [start.idx for start in starts],
    )
    now_at = {(row["batch_id"], row["idx"]): row for row in rows}
    done: dict[Key, StartEnd] = {}
    for start in starts:
        row = now_at[start.batch_id, start.idx]
        ours = row["version"] == start.version + 1 and row["attempts"] == start.number
        if ours and row["state"] == ItemState.RUNNING.value:
            done[start.batch_id, start.idx] = StartEnd.GRANTED
    return done
