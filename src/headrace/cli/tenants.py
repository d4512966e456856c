"""``tenants list | create | suspend | resume | set-plan``: who owns batches, keys and credits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from headrace.plan import Tenant

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
