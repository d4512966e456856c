"""What a plan allows, kept in the transaction of the submit: nobody passes it, however they race.

An item that counts carries the day that it counts on (``item.day``), and the tenant's row of that
day holds how many do. Items that end without a result, or are cancelled, give their place back.
Credits count likewise, apart (``item.credit_day``): what is set aside, less what comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from headrace.lifecycle import ITEM_FINAL, ItemState
from headrace.plan import (
    DailyCapError,
    DailyCreditsError,
    TooManyBatchesError,
    TooManyWaitingError,
)
from headrace.price import credits
from headrace.store import statements
from headrace.store.plans import Standing, standing

BATCHES_AGAIN_S = 60
WAITING_AGAIN_S = 5
"""When to come again where nobody knows how long what is open will take."""

_ANY = 2**63
NOT_DELIVERED = ITEM_FINAL - {ItemState.SUCCEEDED}


@dataclass(frozen=True, slots=True)
class Days:
    """The days on which new items, and their credits, count; ``None`` where they need not."""

    items: date | None
    credits: date | None


@dataclass(frozen=True, slots=True)
class Used:
    """What counts on a day: items, and micro-credits that are held or were charged."""

    items: int
    microcredits: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An item that ended, and the micro-credits of its reserve that came back.

    ``is_lost``: it ended without a result, and counts no more.
    """

    batch_id: UUID
    idx: int
    microcredits: int
    is_lost: bool


def days_of(found: Standing) -> Days:
    """Return the days on which a tenant's new items and their credits count."""
    return Days(
        None if found.plan.daily_items_max is None else found.day,
        None if found.daily_microcredits_max is None else found.day,
    )


async def admit(
    connection: Any,
    found: Standing,
    batch_id: UUID,
    wanted: Used,
    now: datetime,
    *,
    on_demand: bool = False,
) -> None:
    """Count a batch and its new items, whose days are marked already, or refuse them all.

    ``wanted`` are the items and their reserve. Locks in one order everywhere: accounts, open
    batches, days. Raises ``DailyCapError``, ``DailyCreditsError``, ``TooManyBatchesError``,
    ``TooManyWaitingError``.
    """
    await _check_open(connection, found, batch_id, on_demand)
    days, most = days_of(found), (found.plan.daily_items_max, found.daily_microcredits_max)
    if wanted.items == 0 or (days.items is None and days.credits is None):
        return
    counted = Used(
        0 if days.items is None else wanted.items,
        0 if days.credits is None else wanted.microcredits,
    )
    done = None
    if counted.items <= _or_any(most[0]) and counted.microcredits <= _or_any(most[1]):
        done = await connection.fetchval(
            statements.load("days/charge.sql"),
            found.tenant_id,
            found.day,
            counted.items,
            counted.microcredits,
            *most,
        )
    if done is None:
        used = await used_today(connection, found)
        if used.items + counted.items > _or_any(most[0]):
            raise _cap_reached(found, wanted.items, used.items, _or_any(most[0]), now)
        raise _credits_reached(found, wanted, used, _or_any(most[1]), now)


def _or_any(most: int | None) -> int:
    return _ANY if most is None else most


async def admit_again(
    connection: Any, tenant_id: str, batch_id: UUID, idxs: list[int], now: datetime
) -> None:
    """Count items that are opened again, on the day of now; raises as ``admit`` does."""
    found = await standing(connection, tenant_id, now)
    found.check_active()
    batch = await connection.fetchrow(statements.load("days/batch.sql"), batch_id)
    wanted = Used(len(idxs), len(idxs) * batch["reserve_microcredits"])
    await admit(connection, found, batch_id, wanted, now, on_demand=batch["on_demand"])
    days = days_of(found)
    if idxs and (days.items is not None or days.credits is not None):
        mark = statements.load("days/mark.sql")
        await connection.execute(mark, batch_id, idxs, days.items, days.credits)


async def give_back(connection: Any, ended: list[Ended]) -> None:
    """Let what ended without a result, and credits that came back, count no more.

    Items that never counted are left.
    """
    freed = [one for one in ended if one.is_lost or one.microcredits]
    if freed:
        await connection.execute(
            statements.load("days/give_back.sql"),
            [one.batch_id for one in freed],
            [one.idx for one in freed],
            [one.microcredits for one in freed],
            [one.is_lost for one in freed],
        )


async def used_today(connection: Any, found: Standing) -> Used:
    """Return what counts on a tenant's day."""
    row = await connection.fetchrow(statements.load("days/used.sql"), found.tenant_id, found.day)
    return Used(row["items"], row["microcredits"])


def today_json(found: Standing, used: Used) -> dict[str, Any]:
    """Return what a tenant has used of its day, as people and programs see it."""
    return {
        "day": found.day.isoformat(),
        "ends_at": found.midnight.isoformat(),
        "items": used.items,
        "items_max": found.plan.daily_items_max,
        "microcredits": used.microcredits,
        "microcredits_max": found.daily_microcredits_max,
    }


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
        retry_after_s=_until_midnight(found, now),
        facts={
            "plan": found.plan.name,
            "limit": most,
            "used": used,
            "wanted": items,
            "missing": items - left,
            "resets_at": found.midnight.isoformat(),
        },
    )


def _credits_reached(
    found: Standing, wanted: Used, used: Used, most: int, now: datetime
) -> DailyCreditsError:
    left = max(0, most - used.microcredits)
    where = f"plan {found.plan.name}" if found.own_daily_microcredits_max is None else "its own cap"
    return DailyCreditsError(
        f"this may cost {credits(wanted.microcredits)} credits, and {credits(left)} of the day's "
        f"{credits(most)} are left ({where})",
        remedy=f"Send less, or wait until {found.midnight.isoformat()}, when the tenant's next "
        "day begins; credits that are not spent come back as items end.",
        retry_after_s=_until_midnight(found, now),
        facts={
            "plan": found.plan.name,
            "limit_microcredits": most,
            "used_microcredits": used.microcredits,
            "wanted_microcredits": wanted.microcredits,
            "missing_microcredits": wanted.microcredits - left,
            "resets_at": found.midnight.isoformat(),
        },
    )


def _until_midnight(found: Standing, now: datetime) -> int:
    return max(1, int((found.midnight - now).total_seconds()) + 1)
