"""What reports ask: why items of a batch wait, and until when; which models made them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, slots=True)
class Maker:
    """A model, how many items of a stage it made, and ``why`` not the first of several."""

    stage: str
    provider: str
    model: str
    why: str | None
    items: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


async def makers(connection: Any, batch_id: UUID) -> list[Maker]:
    """Return which models made the delivered items of a batch, by stage, the busiest first."""
    rows = await connection.fetch(statements.load("items/makers.sql"), batch_id)
    return [Maker(*row.values()) for row in rows]
