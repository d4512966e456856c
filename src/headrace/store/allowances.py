"""What a plan allows, kept in the transaction of the submit: nobody passes it, however they race.

An item that counts carries the day that it counts on (``item.day``), and the tenant's row of that
day holds how many do. Items that end without a result, or are cancelled, give their place back.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from headrace.lifecycle import ITEM_FINAL, ItemState
from headrace.plan import DailyCapError, TooManyBatchesError, TooManyWaitingError
from headrace.store import statements
from headrace.store.plans import Standing, standing

BATCHES_AGAIN_S = 60
WAITING_AGAIN_S = 5
"""When to come again where nobody knows how long what is open will take."""

NOT_DELIVERED = ITEM_FINAL - {ItemState.SUCCEEDED}


def day_of(found: Standing) -> date | None:
    """Return the day on which a tenant's new items count, ``None`` where they need not."""
    return None if found.plan.daily_items_max is None else found.day


async def admit(
    connection: Any,
    found: Standing,
    batch_id: UUID,
    items: int,
    now: datetime,
    *,
    on_demand: bool = False,
) -> None:
    """Count a batch and its new items, whose day is marked already, or refuse them all.

    Locks in one order everywhere: accounts, open batches, days. Raises ``DailyCapError``,
    ``TooManyBatchesError``, ``TooManyWaitingError``.
    """
    await _check_open(connection, found, batch_id, on_demand)
    most = found.plan.daily_items_max
    if most is None or items == 0:
        return
    counted = None
    if items <= most:
        counted = await connection.fetchval(
            statements.load("days/charge.sql"), found.tenant_id, found.day, items, most
        )
    if counted is None:
        used = await used_today(connection, found)
        raise _cap_reached(found, items, used, most, now)


async def admit_again(
    connection: Any, tenant_id: str, batch_id: UUID, idxs: list[int], now: datetime
) -> None:
    """Count items that are opened again, on the day of now; raises as ``admit`` does."""
    found = await standing(connection, tenant_id, now)
    found.check_active()
    on_demand = await connection.fetchval(statements.load("days/is_on_demand.sql"), batch_id)
    await admit(connection, found, batch_id, len(idxs), now, on_demand=on_demand)
    day = day_of(found)
    if day is not None and idxs:
        await connection.execute(statements.load("days/mark.sql"), batch_id, idxs, day)


async def give_back(connection: Any, ended: list[tuple[UUID, int]]) -> None:
    """Let items that ended without a result count no more; those that never did are left."""
    if ended:
        await connection.execute(
            statements.load("days/give_back.sql"),
            [batch_id for batch_id, _ in ended],
            [idx for _, idx in ended],
        )


async def used_today(connection: Any, found: Standing) -> int:
    """Return how many items count on a tenant's day."""
    used: int = await connection.fetchval(
        statements.load("days/used.sql"), found.tenant_id, found.day
    )
    return used


async def _check_open(connection: Any, found: Standing, batch_id: UUID, on_demand: bool) -> None:
    most = found.plan.waiting_max if on_demand else found.plan.batches_max
    if most is None:
        return
    await connection.execute(statements.load("days/lock.sql"), found.tenant_id)
    row = await connection.fetchrow(statements.load("days/open.sql"), found.tenant_id, batch_id)
    used = row["waiting"] if on_demand else row["batches"]
    if used < most:
        return
    facts = {"plan": found.plan.name, "limit": most, "used": used, "missing": used + 1 - most}
    if on_demand:
        raise TooManyWaitingError(
            f"{used} requests are waiting; the plan {found.plan.name} allows {most} at a time",
            remedy="Ask again when some are answered, or submit a batch.",
            retry_after_s=WAITING_AGAIN_S,
            facts=facts,
        )
    raise TooManyBatchesError(
        f"{used} batches are open; the plan {found.plan.name} allows {most} at a time",
        remedy="Submit it when one has ended, or cancel one.",
        retry_after_s=BATCHES_AGAIN_S,
        facts=facts,
    )


def _cap_reached(found: Standing, items: int, used: int, most: int, now: datetime) -> DailyCapError:
    left = max(0, most - used)
    remedy = f"Send {left} now, or wait" if left else "Wait"
    return DailyCapError(
        f"{items} items were asked for, and {left} of the day's {most} are left "
        f"(plan {found.plan.name})",
        remedy=f"{remedy} until {found.midnight.isoformat()}, when the tenant's next day begins.",
        retry_after_s=max(1, int((found.midnight - now).total_seconds()) + 1),
        facts={
            "plan": found.plan.name,
            "limit": most,
            "used": used,
            "wanted": items,
            "missing": items - left,
            "resets_at": found.midnight.isoformat(),
        },
    )
