"""``tenants list | show | create | suspend | …``: who owns batches, keys and credits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from headrace.plan import Tenant

PLAN = "plan"
TenantId = Annotated[str, Parameter(name="TENANT", help="The tenant's id.")]


def list_(*, common: Common | None = None) -> int:
    """List the tenants, the oldest first."""

    async def work() -> int:
        from headrace.store import tenants

        async with (
            engine_of(common, work=False) as engine,
            engine.database.acquire() as connection,
        ):
            found = await tenants.listed(connection)
        if common is not None and common.json:
            data([one.to_json() for one in found])
        else:
            table(
                ["tenant", "name", "plan", "timezone", "state", "reason"],
                [
                    [one.id, one.name, one.plan, one.timezone, one.state, one.state_reason or ""]
                    for one in found
                ],
            )
        return 0

    return int(on_loop(work()))


def create(
    tenant_id: TenantId,
    *,
    name: Annotated[str | None, Parameter(help="What people call it.")] = None,
    plan: Annotated[str, Parameter(help="What it has signed up for.")] = "default",
    timezone: Annotated[
        str, Parameter(help="When its day begins: an IANA name, such as Europe/Berlin.")
    ] = "UTC",
    unlimited: Annotated[
        bool, Parameter(help="Credits that are missing are granted.", negative="")
    ] = False,
    common: Common | None = None,
) -> int:
    """Make a tenant, with no credits and no key yet."""

    async def move(connection: Any, engine: Any) -> Tenant:
        from headrace.store import tenants

        return await tenants.make(
            connection,
            tenant_id,
            engine.clock.now(),
            name=name,
            plan=plan,
            timezone=timezone,
            unlimited=unlimited,
        )

    return _moved(move, common, "is there; 'headrace keys create NAME --tenant' makes a key")


def suspend(
    tenant_id: TenantId,
    *,
    reason: Annotated[str, Parameter(help="Told to whoever comes with its keys.")],
    common: Common | None = None,
) -> int:
    """Take from a tenant's keys what they open, and take in nothing more of it."""

    async def move(connection: Any, engine: Any) -> Tenant:
        from headrace.store import tenants

        return await tenants.suspend(connection, tenant_id, reason)

    return _moved(move, common, "is suspended; what it has submitted goes on")


def resume(tenant_id: TenantId, *, common: Common | None = None) -> int:
    """End a suspension."""

    async def move(connection: Any, engine: Any) -> Tenant:
        from headrace.store import tenants

        return await tenants.resume(connection, tenant_id)

    return _moved(move, common, "is active")


def set_plan(
    tenant_id: TenantId,
    plan: Annotated[str, Parameter(name="PLAN", help="The plan's name.")],
    *,
    common: Common | None = None,
) -> int:
    """Give a tenant another plan; it holds for what is submitted from now on."""

    async def move(connection: Any, engine: Any) -> Tenant:
        from headrace.store import tenants

        return await tenants.set_plan(connection, tenant_id, plan)

    return _moved(move, common, f"has the plan {plan}")


def set_daily_credits(
    tenant_id: TenantId,
    credits: Annotated[
        str, Parameter(name="CREDITS", help="Credits a day, or 'plan' for what its plan says.")
    ],
    *,
    common: Common | None = None,
) -> int:
    """Give a tenant a cap of its own on the credits of its day, in place of its plan's."""
    from headrace.cli.plans import daily_cap

    most = daily_cap(credits, PLAN)

    async def move(connection: Any, engine: Any) -> Tenant:
        from headrace.store import tenants

        cap = None if most == PLAN else most
        return await tenants.set_daily_cap(connection, tenant_id, cap)

    words = "has its plan's cap" if most == PLAN else f"may spend {credits} credits a day"
    return _moved(move, common, words)


def show(tenant_id: TenantId, *, common: Common | None = None) -> int:
    """Show a tenant with its plan, what it has used of its day, and its credits."""

    async def work() -> int:
        from headrace.price import credits
        from headrace.store import allowances, plans, tenants
        from headrace.store import credits as ledger

        async with (
            engine_of(common, work=False) as engine,
            engine.database.acquire() as connection,
        ):
            found = await tenants.find(connection, tenant_id)
            standing = await plans.standing(connection, tenant_id, engine.clock.now())
            used = await allowances.used_today(connection, standing)
            has = await ledger.balance(connection, tenant_id)
        told = found.to_json() | {"today": allowances.today_json(standing, used)}
        told["available_microcredits"] = has.available_microcredits
        if common is not None and common.json:
            data(told)
            return 0
        for key in ("id", "name", "plan", "timezone", "state", "reason"):
            line(f"{key:10} {told[key] or '(none)'}")
        line(f"{'credits':10} {credits(has.available_microcredits)} available")
        most = standing.daily_microcredits_max
        spent = credits(used.microcredits) + ("" if most is None else f" of {credits(most)}")
        line(f"{'today':10} {spent} credits, {used.items} items; until {standing.midnight}")
        return 0

    return int(on_loop(work()))


def _moved(move: Callable[[Any, Any], Awaitable[Tenant]], common: Common | None, words: str) -> int:
    async def work() -> int:
        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            found = await move(connection, engine)
        if common is not None and common.json:
            data(found.to_json())
        else:
            line(f"{found.id} {words}.")
        return 0

    return int(on_loop(work()))
