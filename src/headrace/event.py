"""Events: immutable facts, written in the same transaction as the change they tell of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class EventKind(StrEnum):
    """The facts that are told."""

    BATCH_SUBMITTED = "batch.submitted"
    BATCH_MOVED = "batch.moved"
    ITEM_SUCCEEDED = "item.succeeded"
    ITEM_FAILED = "item.failed"
    ITEM_REFUSED = "item.refused"
    ITEM_CANCELLED = "item.cancelled"
    ITEM_DEAD = "item.dead"
    ITEM_WAITING = "item.waiting"
    ITEM_RETRIED = "item.retried"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. ``cursor`` orders events so that a reader never misses one committed late."""

    cursor: tuple[int, int]
    batch_id: UUID
    kind: EventKind
    item_idx: int | None
    data: dict[str, Any]
    at: datetime
