"""Tenants at rest: made with their accounts, listed, suspended, resumed, given a plan."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.errors import ConflictError, InputError, NotFoundError
from headrace.plan import DEFAULT, Tenant, TenantState, check_daily_cap, check_id, check_text
from headrace.store import plans, statements


async def make(
    connection: Any,
    tenant_id: str,
    now: datetime,
    *,
    name: str | None = None,
    plan: str = DEFAULT,
    timezone: str = "UTC",
    unlimited: bool = False,
) -> Tenant:
    """Make a tenant with empty accounts, in the caller's transaction.

    ``unlimited``: credits that are missing are granted. Raises ``InputError``,
    ``NotFoundError`` (the plan) and ``ConflictError``.
    """
    check_id(tenant_id, "the id of a tenant")
    shown = tenant_id if name is None else check_text(name, "the name of a tenant")
    await plans.find(connection, plan)
    known = timezone.isprintable() and await connection.fetchval(
        statements.load("tenants/zone_is_known.sql"), timezone
    )
    if not known:
        raise InputError(
            f"{timezone[:80]!r} is not a timezone",
            remedy='Write one of the IANA names, such as "Europe/Berlin" or "UTC".',
        )
    accounts = await connection.fetch(
        statements.load("tenants/insert.sql"), tenant_id, shown, plan, timezone, unlimited, now
    )
    if not accounts:
        raise ConflictError(f"there is a tenant {tenant_id!r} already", remedy="Choose another id.")
    return await find(connection, tenant_id)


async def find(connection: Any, tenant_id: str) -> Tenant:
    """Return a tenant; raises ``NotFoundError``."""
    row = None
    if tenant_id.isprintable():
        row = await connection.fetchrow(statements.load("tenants/list.sql"), tenant_id)
    if row is None:
        raise _unknown(tenant_id)
    return _read(row)


async def listed(connection: Any) -> list[Tenant]:
    """Return all tenants, the oldest first."""
    return [_read(row) for row in await connection.fetch(statements.load("tenants/list.sql"), None)]


async def suspend(connection: Any, tenant_id: str, reason: str) -> Tenant:
    """Take from a tenant's keys what they open, from now on; raises ``NotFoundError``.

    What it has submitted goes on. ``reason`` is told to whoever comes with such a key.
    """
    reason = check_text(reason, "the reason")
    return await _move(connection, tenant_id, TenantState.SUSPENDED, reason)


async def resume(connection: Any, tenant_id: str) -> Tenant:
    """Let a tenant's keys open again what they did; raises ``NotFoundError``."""
    return await _move(connection, tenant_id, TenantState.ACTIVE, None)


async def set_plan(connection: Any, tenant_id: str, plan: str) -> Tenant:
    """Give a tenant another plan; raises ``NotFoundError`` for either."""
    await plans.find(connection, plan)
    await find(connection, tenant_id)
    await connection.execute(statements.load("tenants/set_plan.sql"), tenant_id, plan)
    return await find(connection, tenant_id)


async def set_daily_cap(connection: Any, tenant_id: str, microcredits_max: Any) -> Tenant:
    """Give a tenant a cap of its own on a day's micro-credits, or with ``None`` its plan's.

    Raises ``InputError`` for what is no such number, ``NotFoundError``.
    """
    most = check_daily_cap(microcredits_max)
    await find(connection, tenant_id)
    await connection.execute(statements.load("tenants/set_daily.sql"), tenant_id, most)
    return await find(connection, tenant_id)


async def _move(connection: Any, tenant_id: str, state: TenantState, reason: str | None) -> Tenant:
    await find(connection, tenant_id)
    await connection.execute(statements.load("tenants/move.sql"), tenant_id, state.value, reason)
    return await find(connection, tenant_id)


def _unknown(tenant_id: str) -> NotFoundError:
    return NotFoundError(
        f"there is no tenant {tenant_id[:80]!r}", remedy="'headrace tenants list' shows them."
    )


def _read(row: Any) -> Tenant:
    return Tenant(**{**dict(row), "state": TenantState(row["state"])})
