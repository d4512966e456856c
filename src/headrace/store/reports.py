"""What the live line asks: why items of a batch wait, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.store import statements


@dataclass(frozen=True, slots=True)
class Wait:
    """Why some items of a batch wait, when the first of them is due, and what helps."""

    items: int
    due_at: datetime
    code: str
    reason: str | None
    remedy: str | None = None


async def waits(connection: Any, batch_id: UUID) -> list[Wait]:
    """Return why items of a batch wait: a key, funds or quota first, then the commonest."""
    rows = await connection.fetch(statements.load("items/waits.sql"), batch_id)
    return [Wait(*row.values()) for row in rows]
