"""Grants that expire, at rest: what is left of each, and the balances for which that was true."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from headrace.purse import Lot, Purse
from headrace.store import statements

TENANTS = 100


async def find(connection: Any, tenant_id: str, available: int, held: int) -> Purse:
    """Return a tenant's purse at the balances that it has in the caller's snapshot."""
    rows = await connection.fetch(statements.load("lots/of_tenant.sql"), tenant_id)
    if not rows:
        return Purse(available, held)
    lots = tuple(Lot(row["grant_id"], row["expires_at"], row["here"], row["held"]) for row in rows)
    before = Purse(rows[0]["available_then"], rows[0]["held_then"], lots)
    return before.caught_up(available, held)


async def hold(connection: Any, tenant_id: str, *, anew: bool = False) -> Purse | None:
    """Return a tenant's purse, its balances locked until the commit.

    The caller has locked what is available. ``None`` for a tenant without lots, unless it is
    to have one (``anew``).
    """
    if not anew and not await connection.fetchval(statements.load("lots/any.sql"), tenant_id):
        return None
    rows = await connection.fetch(statements.load("lots/balances.sql"), tenant_id)
    has = {row["kind"]: row["balance_microcredits"] for row in rows}
    return await find(connection, tenant_id, has["available"], has["held"])


async def keep(connection: Any, tenant_id: str, purse: Purse) -> None:
    """Write down what is left of a tenant's lots; those that are used up are forgotten."""
    lots = [lot for lot in purse.lots if lot.available or lot.held]
    await connection.execute(
        statements.load("lots/drop.sql"), tenant_id, [lot.grant_id for lot in lots]
    )
    if not lots:
        await connection.execute(statements.load("lots/unmark.sql"), tenant_id)
        return
    await connection.execute(
        statements.load("lots/mark.sql"), tenant_id, purse.available, purse.held
    )
    await connection.execute(
        statements.load("lots/keep.sql"),
        tenant_id,
        [lot.grant_id for lot in lots],
        [lot.expires_at for lot in lots],
        [lot.available for lot in lots],
        [lot.held for lot in lots],
    )


async def due(connection: Any, now: datetime) -> AsyncIterator[str]:
    """Yield the tenants that have credits past their time, or had some of them held."""
    last = ""
    while True:
        rows = await connection.fetch(statements.load("lots/due.sql"), now, last, TENANTS)
        for row in rows:
            yield row["tenant_id"]
        if len(rows) < TENANTS:
            return
        last = rows[-1]["tenant_id"]
