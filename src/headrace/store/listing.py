"""Pages of batches, and windows of items: what lists ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.store import statements
from headrace.store.batches import Summary


@dataclass(frozen=True)
class Wanted:
    """Which batches of a tenant: ``None`` is any; ``name`` is a part of it, in any case.

    ``behind`` is the creation time and the id of the batch before the page.
    """

    tenant_id: str
    behind: tuple[datetime, UUID] | None = None
    states: Sequence[str] | None = None
    name: str | None = None
    recipe: str | None = None


async def batches(connection: Any, wanted: Wanted, limit: int) -> list[Summary]:
    """Return a page of batches, the latest first."""
    created_at, batch_id = wanted.behind or (None, None)
    rows = await connection.fetch(
        statements.load("batches/page.sql"),
        wanted.tenant_id,
        created_at,
        batch_id,
        wanted.states,
        wanted.name,
        wanted.recipe,
        limit,
    )
    return [Summary(*row.values()) for row in rows]


async def owned_item(connection: Any, batch_id: UUID, idx: int) -> Any:
    """Return the row of one item with its batch's ``tenant_id``; ``None`` without a batch.

    Its ``idx`` is ``None`` where the batch has no such item.
    """
    return await connection.fetchrow(statements.load("items/owned.sql"), batch_id, idx)


async def shown_item(connection: Any, batch_id: UUID, idx: int) -> list[Any]:
    """Return the row of one item as ``owned_item`` does, once for each of its attempts.

    Those have their columns as ``attempt_number`` and so on; none where there is no batch.
    The item's ``inputs``, ``outputs``, ``made`` and ``error`` stand in the first row alone.
    """
    rows: list[Any] = await connection.fetch(statements.load("items/shown.sql"), batch_id, idx)
    return rows


async def items(
    connection: Any,
    batch_id: UUID,
    after_idx: int,
    limit: int,
    states: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
) -> list[Any]:
    """Return the rows of a window of items, in row order."""
    rows: list[Any] = await connection.fetch(
        statements.load("items/window.sql"), batch_id, after_idx, limit, states, outcomes
    )
    return rows
