"""Webhooks that go out: which events there are, what a message says, when it is tried again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from headrace.errors import InputError
from headrace.identity import read_id, show_batch_id, show_id
from headrace.nearest import did_you_mean

BATCH_EVENTS = ("batch.completed", "batch.failed", "batch.cancelled", "batch.expired")
ITEM_EVENTS = ("item.succeeded", "item.failed", "item.refused")
EVENTS = (*BATCH_EVENTS, *ITEM_EVENTS)
PING = "webhook.ping"

RETRY_S = (5, 30, 120, 600, 1800, 3600, 7200, 18_000, 36_000, 86_400)
"""The waits between the tries of a message: eleven tries in two days."""
JITTER = 0.2
FAILING_S_MAX = 5 * 86_400
"""An endpoint that has taken nothing for so long is disabled."""
ROTATION_S = 86_400
"""So long after a change of the secret the old one signs as well."""
ITEMS_MAX = 500
"""Items that one message tells of."""

WEBHOOK_PREFIX, DELIVERY_PREFIX = "wh_", "msg_"


class DeliveryState(StrEnum):
    """Where a message stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


def read_webhook_id(text: str) -> UUID:
    """Return the id behind its public form; raises ``NotFoundError`` when it is not one."""
    return read_id(WEBHOOK_PREFIX, text, "the id of a webhook")


def read_delivery_id(text: str) -> UUID:
    """Return the id behind its public form; raises ``NotFoundError`` when it is not one."""
    return read_id(DELIVERY_PREFIX, text, "the id of a delivery")


def check_events(wanted: list[Any]) -> list[str]:
    """Return the events that are wanted, each once; raises ``InputError`` for one that is none."""
    for name in wanted:
        if name not in EVENTS:
            raise InputError(
                f"{str(name)[:80]!r} is no event",
                remedy=did_you_mean(str(name), EVENTS),
                place="events",
            )
    if not wanted:
        raise InputError("no event is wanted", remedy=f"Known: {', '.join(EVENTS)}.")
    return [name for name in EVENTS if name in wanted]


def wait_s(tries: int, random: Random) -> float | None:
    """Return the seconds from failed try number ``tries`` (from 1) to the next; ``None``: no more.

    Jitter of a fifth keeps what failed together from coming back together.
    """
    if tries > len(RETRY_S):
        return None
    return RETRY_S[tries - 1] * random.uniform(1.0, 1.0 + JITTER)


def message(delivery_id: UUID, event: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    """Return a message as it is sent: the fields of Standard Webhooks, and those of OpenAI's."""
    return {
        "id": show_id(DELIVERY_PREFIX, delivery_id),
        "object": "event",
        "type": event,
        "timestamp": at.isoformat(),
        "created_at": int(at.timestamp()),
        "data": data,
    }


def batch_data(batch_id: UUID, is_of_file: bool, counts: dict[str, Any] | None) -> dict[str, Any]:
    """Return what is told of a batch: its id, its counts at the event, where to look.

    A batch out of a file is called as ``/v1/batches`` calls it.
    """
    native = show_batch_id(batch_id)
    name = native.replace("b_", "batch_", 1) if is_of_file else native
    path = f"/v1/batches/{name}" if is_of_file else f"/api/batches/{native}"
    return {"id": name, "counts": counts or {}, "path": path}


def items_data(batch_id: UUID, items: list[tuple[int, str | None]]) -> dict[str, Any]:
    """Return what is told of items: (row index, error code or ``None``), and where to look."""
    native = show_batch_id(batch_id)
    told = [
        {"row_number": idx + 1} | ({} if code is None else {"code": code}) for idx, code in items
    ]
    return {"id": native, "items": told, "path": f"/api/batches/{native}/items"}
