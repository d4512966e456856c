"""Counts of a batch's items by state, moved by deltas in the transaction of the moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.event import EventKind
from headrace.lifecycle import ItemState
from headrace.store import statements
from headrace.telemetry import crash_point

COUNTED = (
    "pending",
    "running",
    "waiting",
    "unknown",
    "succeeded",
    "failed",
    "refused",
    "cancelled",
    "dead",
    "cached",
    "attempts",
    "repeats",
    "cost_microusd",
    "cost_unknown",
    "spent_microcredits",
    "in_flight_microusd",
    "untold_microusd",
    "cost_estimate_microusd",
)


@dataclass(slots=True)
class Delta:
    """What a group of writes changes in one batch's counts, and the events that tell of it."""

    counts: dict[str, int] = field(default_factory=dict)
    events: list[tuple[EventKind, int | None, str]] = field(default_factory=list)

    def add(self, name: str, amount: int = 1) -> None:
        """Add ``amount`` to the count called ``name``."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def move(self, old: ItemState, new: ItemState) -> None:
        """Count one item out of ``old`` and into ``new``."""
        if old is not new:
            self.add(old.value, -1)
            self.add(new.value)


class Deltas(dict[UUID, Delta]):
    """The deltas of a group, by batch."""

    def of(self, batch_id: UUID) -> Delta:
        """Return the delta of ``batch_id``, made on first use."""
        delta = self.get(batch_id)
        if delta is None:
            delta = self[batch_id] = Delta()
        return delta

    async def write(self, connection: Any, now: datetime) -> None:
        """Apply all deltas, number and write their events, close batches with nothing open.

        Rows are locked in the order of batch ids; the lock is held until commit, which is
        what makes event numbers follow the order of commits.
        """
        if not self:
            return
        ids = sorted(self)
        columns = [[self[batch_id].counts.get(name, 0) for batch_id in ids] for name in COUNTED]
        told = [len(self[batch_id].events) for batch_id in ids]
        rows = await connection.fetch(statements.load("progress/move.sql"), ids, *columns, told)
        events: list[tuple[UUID, int, str, int | None, str]] = []
        for batch_id, last_seq, open_count in rows:
            delta = self[batch_id]
            first = last_seq - len(delta.events) + 1
            events += [
                (batch_id, first + at, kind.value, idx, data)
                for at, (kind, idx, data) in enumerate(delta.events)
            ]
            if open_count == 0:
                await finish(connection, batch_id, now)
        if events:
            await write_events(connection, events, now)


async def finish(connection: Any, batch_id: UUID, now: datetime) -> None:
    """Close the batch if it is live, and tell of it; the caller saw that no item is open."""
    state = await connection.fetchval(statements.load("batches/finish.sql"), batch_id, now)
    if state is not None:
        crash_point("finish-before-commit")
        await tell(connection, batch_id, EventKind.BATCH_MOVED, f'{{"state":"{state}"}}', now)


async def tell(connection: Any, batch_id: UUID, kind: EventKind, data: str, now: datetime) -> None:
    """Write one event about a batch as a whole."""
    zeros = [[0] for _ in COUNTED]
    rows = await connection.fetch(statements.load("progress/move.sql"), [batch_id], *zeros, [1])
    await write_events(connection, [(batch_id, rows[0][1], kind.value, None, data)], now)


async def write_events(
    connection: Any, events: Iterable[tuple[UUID, int, str, int | None, str]], now: datetime
) -> None:
    """Insert numbered events: (batch id, number, kind, row index, JSON text)."""
    batch_ids, seqs, kinds, idxs, data = zip(*events, strict=True)
    await connection.execute(
        statements.load("events/write.sql"), batch_ids, seqs, kinds, idxs, data, now
    )
