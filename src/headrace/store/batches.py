"""Batches: submitted all or nothing, paused, resumed, cancelled, retried, and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from headrace.errors import ConflictError, NotFoundError
from headrace.event import EventKind
from headrace.held import encode_json
from headrace.identity import show_batch_id
from headrace.lifecycle import BatchState, ItemState
from headrace.pause import BY_PERSON, Pause, read_pause
from headrace.store import allowances, ledger, queue, statements
from headrace.store.chosen import Chosen
from headrace.store.ledger import Accounts, Transfer
from headrace.store.new_items import ITEM_COLUMNS, NewItem, records_of
from headrace.store.plans import standing
from headrace.store.progress import Deltas, finish, tell
from headrace.store.tally import Tally
from headrace.telemetry import crash_point


@dataclass(frozen=True)
class NewBatch:
    """A batch to be submitted. JSON fields are text; ``reserve_microcredits`` is per item.

    ``tariff`` is what its results are charged by, ``None`` for the providers' own prices.

    ``canary`` usable items run alone first, where there are ``canary_items_min`` rows.
    ``on_demand``: somebody waits for its one item.
    """

    id: UUID
    tenant_id: str
    name: str
    class_name: str
    recipe_name: str
    recipe_version: bytes
    recipe: str
    columns: str | None
    cache_mode: str
    unknown_policy: str
    idempotency_key: str | None
    request_digest: bytes | None
    reserve_microcredits: int
    source: str
    canary: int = 0
    canary_items_min: int = 0
    look_first: bool = False
    cost_cap_microusd: int | None = None
    on_demand: bool = False
    tariff: str | None = None
    deadline_s: float | None = None


async def submit(
    connection: Any, accounts: Accounts, new: NewBatch, items: Iterable[NewItem], now: datetime
) -> tuple[UUID, bool]:
    """Write a batch with its items and reserve its credits, in the caller's transaction.

    Returns the batch's id and whether it is new: the same idempotency key with the same
    request gives the batch that is there. Raises ``ConflictError`` when the key was used
    for another request, ``InsufficientCreditsError`` when the credits do not suffice,
    ``SuspendedError`` and ``AllowanceError`` when the tenant's plan does not allow it. A class
    above the plan's becomes the plan's.
    """
    found = await standing(connection, new.tenant_id, now)
    found.check_active()
    new = replace(new, class_name=found.plan.lowered(new.class_name))
    inserted = await connection.fetchval(
        statements.load("batches/insert.sql"),
        new.id,
        new.tenant_id,
        new.name,
        new.class_name,
        new.recipe_name,
        new.recipe_version,
        new.recipe,
        new.columns,
        new.cache_mode,
        new.unknown_policy,
        new.idempotency_key,
        new.request_digest,
        new.reserve_microcredits,
        new.source,
        now,
        new.look_first,
        new.cost_cap_microusd,
        new.on_demand,
        new.tariff,
        now + timedelta(seconds=new.deadline_s) if new.deadline_s else None,
    )
    if inserted is None:
        return await _same(connection, new), False
    tally = Tally(new.canary, new.reserve_microcredits)
    await connection.copy_records_to_table(
        "item",
        records=records_of(new.id, items, tally, now, allowances.days_of(found)),
        columns=ITEM_COLUMNS,
    )
    total, canary = tally.good + tally.bad, tally.canary_of(new.canary_items_min, new.look_first)
    each = tally.reserve_microcredits
    await connection.execute(statements.load("batches/counted.sql"), new.id, total, canary, each)
    await connection.execute(statements.load("progress/insert.sql"), new.id, tally.good, tally.bad)
    wanted = allowances.Used(tally.good, tally.good * each)
    await ledger.reserve(connection, accounts, new.tenant_id, wanted.microcredits, new.id, now)
    await allowances.admit(connection, found, new.id, wanted, now, on_demand=new.on_demand)
    data = f'{{"items":{total},"bad":{tally.bad},"canary":{canary}}}'
    await tell(connection, new.id, EventKind.BATCH_SUBMITTED, data, now)
    if tally.good == 0:
        await finish(connection, new.id, now)
    crash_point("submit-before-commit")
    return new.id, True


async def _same(connection: Any, new: NewBatch) -> UUID:
    row = await connection.fetchrow(
        statements.load("batches/by_key.sql"), new.tenant_id, new.idempotency_key
    )
    if row["request_digest"] != new.request_digest:
        raise ConflictError(
            f"the idempotency key {new.idempotency_key!r} was used for another request",
            remedy=f"Use a new key, or look at {show_batch_id(row['id'])}.",
        )
    found: UUID = row["id"]
    return found


@dataclass(frozen=True)
class Summary:
    """A batch with the counts of its items; amounts in micro-USD and micro-credits.

    ``in_flight_microusd`` is the worst case of the calls under way, ``untold_microusd``
    of those that ended without telling their cost. ``cost_estimate_microusd`` is what
    list prices make of calls whose true cost is not known: no part of ``cost_microusd``.
    ``cost_unknown`` counts results that have neither.
    """

    id: UUID
    tenant_id: str
    name: str
    state: str
    class_name: str
    recipe_name: str
    recipe_version: bytes
    item_count: int
    cache_mode: str
    unknown_policy: str
    columns: str | None
    source: str
    reserve_microcredits: int
    created_at: datetime
    finished_at: datetime | None
    pending: int
    running: int
    waiting: int
    unknown: int
    succeeded: int
    failed: int
    refused: int
    cancelled: int
    dead: int
    cached: int
    attempts: int
    repeats: int
    cost_microusd: int
    cost_unknown: int
    spent_microcredits: int
    event_seq: int
    canary: int = 0
    look_first: bool = False
    cost_cap_microusd: int | None = None
    pause_json: str | None = None
    in_flight_microusd: int = 0
    untold_microusd: int = 0
    cost_estimate_microusd: int = 0

    @property
    def pause(self) -> Pause | None:
        """Return why the batch is paused, ``None`` where it is not."""
        if self.state != BatchState.PAUSED.value:
            return None
        return read_pause(self.pause_json) or BY_PERSON

    @property
    def open(self) -> int:
        """Return how many items have not ended."""
        return self.pending + self.running + self.waiting + self.unknown

    @property
    def ended_badly(self) -> int:
        """Return how many items ended without a result, cancelled ones apart."""
        return self.failed + self.refused + self.dead

    @property
    def done(self) -> int:
        """Return how many items have ended, however."""
        return self.item_count - self.open


async def summary(connection: Any, batch_id: UUID) -> Summary:
    """Return a batch with its counts; raises ``NotFoundError``."""
    row = await connection.fetchrow(statements.load("batches/summary.sql"), batch_id)
    if row is None:
        raise not_there(batch_id)
    return Summary(*row.values())


def not_there(batch_id: UUID) -> NotFoundError:
    """Return the error for a batch that there is not, or that is somebody else's."""
    return NotFoundError(
        f"there is no batch {show_batch_id(batch_id)}",
        remedy="'headrace batches' lists those that are there.",
    )


async def pause(
    connection: Any,
    batch_id: UUID,
    now: datetime,
    why: Pause = BY_PERSON,
    states: tuple[BatchState, ...] = (BatchState.CANARY, BatchState.RUNNING),
) -> bool:
    """Pause a batch in one of ``states``: nothing of it starts after this commits.

    ``False`` when it is in another state.
    """
    state = await connection.fetchval(
        statements.load("batches/pause.sql"),
        batch_id,
        encode_json(why.to_json()).decode(),
        [state.value for state in states],
    )
    if state is not None:
        await tell(connection, batch_id, EventKind.BATCH_MOVED, why.event_data(), now)
    return state is not None


async def proceed(connection: Any, batch_id: UUID, now: datetime) -> bool:
    """Let all of a batch run whose canary went well; ``False`` when it is not in its canary."""
    state = await connection.fetchval(statements.load("batches/proceed.sql"), batch_id)
    if state is not None:
        await tell(connection, batch_id, EventKind.BATCH_MOVED, '{"state":"running"}', now)
    return state is not None


async def resume(
    connection: Any, batch_id: UUID, now: datetime, cost_cap_microusd: int | None = None
) -> bool:
    """Let a paused batch go on; ``False`` when it is not paused.

    In whatever state it is, ``cost_cap_microusd`` is its cap from now on, and items that
    wait for a key, funds or a quota are tried now.
    """
    if cost_cap_microusd is not None:
        await connection.execute(statements.load("batches/cap.sql"), batch_id, cost_cap_microusd)
    state = await connection.fetchval(statements.load("batches/resume.sql"), batch_id)
    await connection.execute(statements.load("items/due_now.sql"), batch_id, now)
    if state is None:
        return False
    await connection.execute(statements.load("progress/short.sql"), [batch_id], [None])
    rows = await connection.fetch(statements.load("shards/unpark.sql"), batch_id)
    await queue.enqueue(connection, [row["id"] for row in rows])
    await tell(connection, batch_id, EventKind.BATCH_MOVED, '{"state":"running"}', now)
    return True


async def cancel(connection: Any, accounts: Accounts, batch_id: UUID, now: datetime) -> int | None:
    """Cancel a batch: what has not started never will, and its credits go back.

    Items in flight, and those whose job still runs at a provider, end as that does. Returns
    how many items were cancelled, ``None`` when the batch had already ended.
    """
    batch = await connection.fetchrow(statements.load("batches/cancel.sql"), batch_id)
    if batch is None:
        return None
    deltas = Deltas()
    moved = (EventKind.BATCH_MOVED, None, '{"state":"finalizing"}')
    deltas.of(batch_id).events.append(moved)
    count = await _cancel_items(connection, accounts, batch_id, batch, deltas, now)
    await connection.execute(statements.load("items/due_at_cancel.sql"), batch_id, now)
    # What was under way when a worker died may lie in a shard that was parked since.
    rows = await connection.fetch(statements.load("shards/unpark.sql"), batch_id)
    await queue.enqueue(connection, [row["id"] for row in rows])
    return count


async def cancel_left(connection: Any, accounts: Accounts, batch_id: UUID, now: datetime) -> int:
    """Cancel what came to rest since a batch was cancelled: calls in flight that then failed.

    Returns how many items; 0 too for a batch that is not being cancelled.
    """
    batch = await connection.fetchrow(statements.load("batches/cancelled.sql"), batch_id)
    if batch is None:
        return 0
    return await _cancel_items(connection, accounts, batch_id, batch, Deltas(), now)


async def _cancel_items(
    connection: Any,
    accounts: Accounts,
    batch_id: UUID,
    batch: Any,
    deltas: Deltas,
    now: datetime,
) -> int:
    rows = await connection.fetch(statements.load("items/cancel.sql"), batch_id, now)
    delta = deltas.of(batch_id)
    for row in rows:
        delta.add(row["old_state"], -1)
    delta.add("cancelled", len(rows))
    amount = batch["reserve_microcredits"]
    if amount and rows:
        await accounts.know(connection, {batch["tenant_id"]})
        held = accounts.id(batch["tenant_id"], "held")
        available = accounts.id(batch["tenant_id"], "available")
        moves = (held, available, amount, batch_id)
        transfers = [
            Transfer("void", *moves, row["idx"], row["round"], None, "cancelled") for row in rows
        ]
        await ledger.write(connection, transfers, now)
    ended = [allowances.Ended(batch_id, row["idx"], amount, True) for row in rows]
    await allowances.give_back(connection, ended)
    await deltas.write(connection, now)
    return len(rows)


async def retry(
    connection: Any, accounts: Accounts, batch_id: UUID, chosen: Chosen, now: datetime
) -> int:
    """Open ended items again for another round, with a reserve of their own.

    ``unknown`` items go on in their round: their reserve is still held. Rows that could
    not be read are left. A batch that is paused stays so. Returns how many items were
    opened; raises ``ConflictError`` for a cancelled batch.
    """
    batch = await connection.fetchrow(statements.load("batches/reopen.sql"), batch_id)
    if batch is None:
        found = await summary(connection, batch_id)
        why = "lost its data to time" if found.state == "completed" else f"is {found.state}"
        raise ConflictError(
            f"batch {show_batch_id(batch_id)} {why}",
            remedy="What was cancelled, or is past its time, is over; run its input again.",
        )
    deltas = Deltas()
    opened, counted = 0, list[int]()
    for state in sorted(chosen.states):
        again = 0 if state is ItemState.UNKNOWN else 1
        rows = await connection.fetch(
            statements.load("items/retry.sql"), batch_id, *chosen.values(state, now, again)
        )
        if not rows:
            continue
        deltas.of(batch_id).add(state.value, -len(rows))
        deltas.of(batch_id).add("waiting", len(rows))
        deltas.of(batch_id).events += [(EventKind.ITEM_RETRIED, row["idx"], "{}") for row in rows]
        amount = len(rows) * again * batch["reserve_microcredits"]
        await ledger.reserve(
            connection, accounts, batch["tenant_id"], amount, batch_id, now, "retry"
        )
        opened += len(rows)
        if again:
            counted += [row["idx"] for row in rows]
    if opened:
        await allowances.admit_again(connection, batch["tenant_id"], batch_id, counted, now)
    await deltas.write(connection, now)
    if opened == 0:
        await finish_if_ended(connection, batch_id, now)
    return opened


async def finish_if_ended(connection: Any, batch_id: UUID, now: datetime) -> None:
    """Close a batch again that was reopened for nothing."""
    if (await summary(connection, batch_id)).open == 0:
        await finish(connection, batch_id, now)
