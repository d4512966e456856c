"""Plans at rest, and how a tenant stands under its own at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from headrace.errors import NotFoundError
from headrace.plan import Plan, SuspendedError, TenantState, read_plan
from headrace.store import statements

_PLAN = (
    "name", "class_name", "weight", "daily_items_max", "batches_max", "pixels_max", "watermark",
    "waiting_max", "daily_microcredits_max", "calls_max",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """A tenant's plan and state, and its ``day``, which ends at ``midnight``.

    ``own_daily_microcredits_max`` is its own cap on the day's credits, in place of the plan's.
    """

    tenant_id: str
    plan: Plan
    state: TenantState
    state_reason: str | None
    day: date
    midnight: datetime
    own_daily_microcredits_max: int | None = None

    @property
    def daily_microcredits_max(self) -> int | None:
        """Return the cap on the credits of the day, ``None`` where there is none."""
        own = self.own_daily_microcredits_max
        return self.plan.daily_microcredits_max if own is None else own

    def check_active(self) -> None:
        """Raise ``SuspendedError`` with the reason where the tenant may do nothing."""
        if self.state is TenantState.SUSPENDED:
            raise SuspendedError(
                f"the tenant {self.tenant_id} is suspended: {self.state_reason}",
                remedy="Ask whoever runs this installation; 'headrace tenants resume' ends it.",
            )


async def standing(connection: Any, tenant_id: str, now: datetime) -> Standing:
    """Return how a tenant stands at ``now``; raises ``NotFoundError``."""
    row = None
    if tenant_id.isprintable():
        row = await connection.fetchrow(statements.load("plans/of_tenant.sql"), tenant_id, now)
    if row is None:
        raise NotFoundError(
            f"there is no tenant {tenant_id[:80]!r}", remedy="'headrace tenants list' shows them."
        )
    return Standing(
        tenant_id,
        _read(row),
        TenantState(row["state"]),
        row["state_reason"],
        row["day"],
        row["midnight"],
        row["own_daily_microcredits_max"],
    )


async def listed(connection: Any) -> list[Plan]:
    """Return all plans, by name."""
    return [_read(row) for row in await connection.fetch(statements.load("plans/list.sql"), None)]


async def find(connection: Any, name: str) -> Plan:
    """Return a plan; raises ``NotFoundError``."""
    row = None
    if name.isprintable():
        row = await connection.fetchrow(statements.load("plans/list.sql"), name)
    if row is None:
        raise NotFoundError(
            f"there is no plan {name[:80]!r}", remedy="'headrace plans list' shows them."
        )
    return _read(row)


async def put(connection: Any, name: str, told: Mapping[str, Any], now: datetime) -> Plan:
    """Make a plan, or change what is told of the one that is there; raises ``InputError``.

    In the caller's transaction.
    """
    # Before anything is read: what comes second is laid over what the first has left.
    read_plan(name, told)
    await connection.execute(statements.load("plans/lock.sql"), name)
    row = await connection.fetchrow(statements.load("plans/list.sql"), name)
    plan = read_plan(name, told, None if row is None else _read(row))
    values = [getattr(plan, each) for each in _PLAN]
    await connection.execute(statements.load("plans/set.sql"), *values, now)
    return plan


def _read(row: Any) -> Plan:
    return Plan(*(row[name] for name in _PLAN))
