"""Whose a batch is: looked at in every route that names one."""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import NotFoundError, UsageError
from headrace.http.entry import Caller, Entry
from headrace.store.batches import Summary, not_there
from headrace.watching import Batch, ItemResult

PAGE_MAX = 500


async def owned(
    engine: Engine, entry: Entry, request: HTTPConnection, batch_id: str, scope: Scope
) -> tuple[Caller, Batch, Summary]:
    """Return who calls, and the batch if it is theirs; raises ``NotFoundError``."""
    caller = await entry.let_in(request, scope)
    batch = engine.batch(batch_id)
    summary = await batch.summary()
    if summary.tenant_id != caller.tenant_id:
        # As for a batch that there is not, so that nobody learns of it.
        raise not_there(batch.uuid)
    return caller, batch, summary


async def owned_item(
    engine: Engine, entry: Entry, request: HTTPConnection, batch_id: str, row_number: int
) -> tuple[Batch, ItemResult]:
    """Return a batch and one of its items, to look at, if they are the caller's.

    One look at the database, for pages ask for many items. Raises ``NotFoundError``.
    """
    caller = await entry.let_in(request, Scope.READ)
    batch = engine.batch(batch_id)
    tenant_id, item = await batch.owned_item(row_number)
    if tenant_id != caller.tenant_id:
        raise not_there(batch.uuid)
    return batch, there(item, row_number)


async def shown_item(
    engine: Engine, entry: Entry, request: HTTPConnection, batch_id: str, row_number: int
) -> tuple[Batch, ItemResult, list[dict[str, Any]]]:
    """Return what ``owned_item`` does, and the item's attempts in order."""
    caller = await entry.let_in(request, Scope.READ)
    batch = engine.batch(batch_id)
    tenant_id, item, attempts = await batch.shown_item(row_number)
    if tenant_id != caller.tenant_id:
        raise not_there(batch.uuid)
    return batch, there(item, row_number), attempts


def there(item: ItemResult | None, row_number: int) -> ItemResult:
    """Return the item of a row; raises ``NotFoundError`` where there is none."""
    if item is None:
        raise NotFoundError(f"there is no row {row_number}", remedy="They count from 1.")
    return item


def page_size(limit: int) -> int:
    """Return how many are asked for, within bounds."""
    return max(1, min(limit, PAGE_MAX))


def words_of(text: str | None, known: type, what: str) -> list[str] | None:
    """Return words with commas between them, each one of an enum's; raises ``UsageError``."""
    if text is None:
        return None
    words = text.split(",")
    values = [member.value for member in known]  # type: ignore[attr-defined]
    for word in words:
        if word not in values:
            raise UsageError(
                f"{word[:40]!r} is not {what}", remedy=f"Use some of: {', '.join(values)}."
            )
    return words


def plain(text: str | None, what: str) -> str | None:
    """Return a text of a query; raises ``UsageError`` for one that no name can be."""
    if text is not None and ("\0" in text or len(text) > 1000):
        raise UsageError(f"{what} cannot be {text[:40]!r}")
    return text
