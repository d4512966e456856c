"""Group commit of settles: outcome, item, artifact, cache, ledger, counts and events as one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.errors import FenceLostError
from headrace.lifecycle import check_item_move
from headrace.store import (
    allowances,
    budgets,
    cache_secrets,
    ledger,
    owners,
    spooled,
    statements,
)
from headrace.store.ledger import Accounts, Transfer
from headrace.store.progress import Deltas
from headrace.store.starts import release
from headrace.store.writes import Settle
from headrace.telemetry import crash_point

Answer = bool | FenceLostError


async def write(
    connection: Any, settles: list[Settle], accounts: Accounts, now: datetime
) -> list[Answer]:
    """Write ``settles`` in the caller's transaction.

    Returns, in order, ``True`` where the item moved, ``False`` where it had moved on
    meanwhile (cancelled), and a ``FenceLostError`` where another worker holds the shard.
    """
    for settle in settles:
        check_item_move(settle.from_state, settle.to_state)
    rows = await connection.fetch(
        statements.load("shards/lock.sql"), list({settle.shard_id for settle in settles})
    )
    live = {row["id"]: row["fence"] for row in rows}
    fenced = [settle for settle in settles if live.get(settle.shard_id) == settle.fence]
    # Items are locked in this order by whoever locks many, a cancel above all.
    fenced.sort(key=lambda settle: (settle.batch_id, settle.idx))
    moved = await _items(connection, fenced, now)
    done = [settle for settle in fenced if (settle.batch_id, settle.idx) in moved]
    deltas = Deltas()
    await _attempts(connection, done, deltas, now)
    await _artifacts(connection, done, now)
    await _cache(connection, done, now)
    await spooled.drop(connection, [(s.batch_id, s.idx) for s in done if s.was_spooled])
    await _ledger(connection, done, accounts, now)
    await allowances.give_back(
        connection,
        [
            allowances.Ended(
                s.batch_id, s.idx, s.void_microcredits, s.to_state in allowances.NOT_DELIVERED
            )
            for s in done
        ],
    )
    _count(done, deltas)
    await deltas.write(connection, now)
    # The last lock that is taken: nobody who holds it waits for another.
    await cache_secrets.renew(connection, (s.tenant_id for s in done if s.renews and s.fill))
    crash_point("settle-before-commit")
    return [_answer(settle, live, moved) for settle in settles]


def _answer(settle: Settle, live: dict[int, int], moved: set[tuple[Any, int]]) -> Answer:
    if live.get(settle.shard_id) != settle.fence:
        return FenceLostError("another worker holds the shard")
    return (settle.batch_id, settle.idx) in moved


async def _items(connection: Any, settles: list[Settle], now: datetime) -> set[tuple[Any, int]]:
    if not settles:
        return set()
    rows = await connection.fetch(
        statements.load("items/settle.sql"),
        [s.batch_id for s in settles],
        [s.idx for s in settles],
        [s.version for s in settles],
        [s.to_state.value for s in settles],
        [s.stage for s in settles],
        [s.tries for s in settles],
        [s.cached for s in settles],
        [s.due_at for s in settles],
        [s.cost_microusd for s in settles],
        [s.spent_microcredits for s in settles],
        [s.outputs for s in settles],
        [s.error for s in settles],
        [s.file for s in settles],
        now,
        [s.course for s in settles],
        [s.made for s in settles],
        [s.cost_estimate_microusd for s in settles],
        [s.cost_unknown for s in settles],
        [s.priced_microcredits for s in settles],
    )
    return {(row[0], row[1]) for row in rows}


async def _attempts(connection: Any, settles: list[Settle], deltas: Deltas, now: datetime) -> None:
    ended = [(s.batch_id, s.idx, s.attempt) for s in settles if s.attempt is not None]
    if not ended:
        return
    rows = await connection.fetch(
        statements.load("attempts/end.sql"),
        [batch_id for batch_id, _, _ in ended],
        [idx for _, idx, _ in ended],
        [a.number for _, _, a in ended],
        [a.state.value for _, _, a in ended],
        [a.outcome.value for _, _, a in ended],
        [a.provider_request_id for _, _, a in ended],
        [a.cost_microusd for _, _, a in ended],
        [a.latency_ms for _, _, a in ended],
        [a.facts for _, _, a in ended],
        [a.error for _, _, a in ended],
        now,
        [a.untold for _, _, a in ended],
        [a.cost_estimate_microusd for _, _, a in ended],
    )
    budgets.count_landed(deltas, rows)


async def _artifacts(connection: Any, settles: list[Settle], now: datetime) -> None:
    kept = {s.artifact.sha256: s.artifact for s in settles if s.artifact is not None}
    if kept:
        await connection.execute(
            statements.load("artifacts/keep.sql"),
            [a.sha256 for a in kept.values()],
            [a.media_type for a in kept.values()],
            [a.size_bytes for a in kept.values()],
            [a.body for a in kept.values()],
            now,
        )
        made = ((s.tenant_id, s.artifact.sha256) for s in settles if s.artifact is not None)
        await owners.add(connection, made)


async def _cache(connection: Any, settles: list[Settle], now: datetime) -> None:
    holders = [s for s in settles if s.fingerprint is not None]
    filled = sorted(
        ((s, s.artifact) for s in holders if s.fill and s.artifact is not None),
        key=lambda pair: (pair[0].tenant_id, pair[0].fingerprint or b""),
    )
    if filled:
        await connection.execute(
            statements.load("cache/fill.sql"),
            [s.tenant_id for s, _ in filled],
            [s.fingerprint for s, _ in filled],
            [s.shard_id for s, _ in filled],
            [s.fence for s, _ in filled],
            [a.sha256 for _, a in filled],
            [a.media_type for _, a in filled],
            [a.size_bytes for _, a in filled],
            [s.facts for s, _ in filled],
            now,
            [s.expires_at for s, _ in filled],
        )
    await release(connection, [s for s in holders if not s.fill])


async def _ledger(
    connection: Any, settles: list[Settle], accounts: Accounts, now: datetime
) -> None:
    moving = [
        s for s in settles if s.post_microcredits or s.void_microcredits or s.overrun_microcredits
    ]
    if not moving:
        return
    await accounts.know(connection, {s.tenant_id for s in moving})
    revenue = accounts.id(None, "revenue")
    transfers: list[Transfer] = []
    for s in moving:
        held = accounts.id(s.tenant_id, "held")
        number = s.attempt.number if s.attempt is not None else None
        for kind, source, target, amount in (
            ("post", held, revenue, s.post_microcredits),
            ("void", held, accounts.id(s.tenant_id, "available"), s.void_microcredits),
            ("overrun", accounts.id(None, "overrun"), revenue, s.overrun_microcredits),
        ):
            if amount:
                transfers.append(
                    Transfer(
                        kind, source, target, amount, s.batch_id, s.idx, s.round, number, s.reason
                    )
                )
    await ledger.write(connection, transfers, now)


def _count(settles: list[Settle], deltas: Deltas) -> None:
    for s in settles:
        delta = deltas.of(s.batch_id)
        delta.move(s.from_state, s.to_state)
        delta.add("cost_microusd", s.cost_microusd)
        delta.add("cost_estimate_microusd", s.cost_estimate_microusd)
        delta.add("spent_microcredits", s.post_microcredits)
        if s.cost_unknown:
            delta.add("cost_unknown")
        if s.cached:
            delta.add("cached")
        if s.event is not None:
            delta.events.append((s.event, s.idx, s.event_data))


async def already(connection: Any, settles: list[Settle]) -> set[tuple[Any, int]]:
    """Return the keys of settles whose commit went through although its reply was lost."""
    rows = await connection.fetch(
        statements.load("items/versions.sql"),
        [settle.batch_id for settle in settles],
        [settle.idx for settle in settles],
    )
    now_at = {(row["batch_id"], row["idx"]): row for row in rows}
    return {
        (s.batch_id, s.idx)
        for s in settles
        if now_at[s.batch_id, s.idx]["version"] == s.version + 1
        and now_at[s.batch_id, s.idx]["state"] == s.to_state.value
    }
