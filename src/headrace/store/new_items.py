"""The items of a new batch, on their way into the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.lifecycle import ItemState
from headrace.store.allowances import Days
from headrace.store.tally import Tally

ITEM_COLUMNS = ("batch_id", "idx", "state", "inputs", "error", "changed_at", "day", "credit_day")


@dataclass(frozen=True, slots=True)
class NewItem:
    """An input row as JSON text; ``error`` is set for a row that cannot be used.

    ``reserve_microcredits`` is the most that it can be charged, where its row tells more than
    the batch: the dearest row's is set aside for each.
    """

    inputs: str
    error: str | None = None
    reserve_microcredits: int = 0


def records_of(
    batch_id: UUID, items: Iterable[NewItem], tally: Tally, now: datetime, days: Days
) -> Iterator[tuple[Any, ...]]:
    """Yield items as they are copied, counting them; ``days`` are those on which they count."""
    pending, failed = ItemState.PENDING.value, ItemState.FAILED.value
    for idx, item in enumerate(items):
        if item.error is None:
            tally.accept(idx, item.reserve_microcredits)
            yield (batch_id, idx, pending, item.inputs, None, None, days.items, days.credits)
        else:
            tally.bad += 1
            yield (batch_id, idx, failed, item.inputs, item.error, now, None, None)
