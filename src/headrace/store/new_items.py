"""The items of a new batch, on their way into the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from headrace.lifecycle import ItemState

ITEM_COLUMNS = ("batch_id", "idx", "state", "inputs", "error", "changed_at", "day")


@dataclass(frozen=True, slots=True)
class NewItem:
    """An input row as JSON text; ``error`` is set for a row that cannot be used."""

    inputs: str
    error: str | None = None


@dataclass(slots=True)
class Tally:
    """What was counted while items went by; ``canary`` usable ones run alone first."""

    canary: int
    good: int = 0
    bad: int = 0
    canary_end: int = 0

    def accept(self, idx: int) -> None:
        """Count a row that can be used; the canary ends behind so many of them."""
        self.good += 1
        if self.good <= self.canary:
            self.canary_end = idx + 1

    def canary_of(self, items_min: int, look_first: bool) -> int:
        """Return where the canary ends, 0 for none: it has to leave something to be saved."""
        too_few = self.good + self.bad < items_min or self.good <= self.canary
        return 0 if too_few and not look_first else self.canary_end


def records_of(
    batch_id: UUID, items: Iterable[NewItem], tally: Tally, now: datetime, day: date | None
) -> Iterator[tuple[Any, ...]]:
    """Yield items as they are copied, counting them; ``day`` is the one on which they count."""
    pending, failed = ItemState.PENDING.value, ItemState.FAILED.value
    for idx, item in enumerate(items):
        if item.error is None:
            tally.accept(idx)
            yield (batch_id, idx, pending, item.inputs, None, None, day)
        else:
            tally.bad += 1
            yield (batch_id, idx, failed, item.inputs, item.error, now, None)
