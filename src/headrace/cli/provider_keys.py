"""``keys provider-set``, ``-list``, ``-remove`` and ``rotate-master``: what tenants buy with."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table


def set_(
    provider: Annotated[str, Parameter(help="Its name in the settings.")],
    *,
    tenant: Annotated[str | None, Parameter(help="Whose key it is.")] = None,
    shared: Annotated[bool, Parameter(help="Everybody's who has none.", negative="")] = False,
    common: Common | None = None,
) -> int:
    """Keep a key of a provider, sealed. It is read from standard input, or asked for."""

    async def work() -> int:
        from headrace.store import provider_keys, tenants

        meant = _whose(tenant, shared)
        secret = _secret(f"Key for {provider}: ")
        async with engine_of(common, work=False) as engine:
            engine.own_keys.check(provider, secret)
            async with engine.database.transaction() as connection:
                if meant is not None:
                    await tenants.find(connection, meant)
                made = await provider_keys.put(
                    connection,
                    engine.own_keys.masters,
                    meant,
                    provider,
                    secret,
                    engine.clock.now(),
                )
        if common is not None and common.json:
            data(made.to_json())
        else:
            line(f"Kept, sealed under the master key {made.master_id}.")
        return 0

    return int(on_loop(work()))


def list_(*, common: Common | None = None) -> int:
    """List whose keys there are, for which providers."""

    async def work() -> int:
        from headrace.store import provider_keys

        async with (
            engine_of(common, work=False) as engine,
            engine.database.acquire() as connection,
        ):
            found = await provider_keys.listed(connection, None)
        if common is not None and common.json:
            data([key.to_json() for key in found])
        else:
            table(
                ["tenant", "provider", "sealed under", "since"],
                [
                    [
                        key.tenant_id or "(everybody)",
                        key.provider,
                        key.master_id,
                        f"{key.created_at:%Y-%m-%d}",
                    ]
                    for key in found
                ],
            )
        return 0

    return int(on_loop(work()))


def remove(
    provider: Annotated[str, Parameter(help="Its name in the settings.")],
    *,
    tenant: Annotated[str | None, Parameter(help="Whose key it is.")] = None,
    shared: Annotated[bool, Parameter(help="Everybody's.", negative="")] = False,
    common: Common | None = None,
) -> int:
    """Remove a key of a provider; its tenant then buys with the installation's."""

    async def work() -> int:
        from headrace.errors import NotFoundError
        from headrace.store import provider_keys

        meant = _whose(tenant, shared)
        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            if not await provider_keys.remove(connection, meant, provider):
                raise NotFoundError(
                    f"there is no such key for {provider!r}", remedy="headrace keys provider-list"
                )
        line("It is removed.")
        return 0

    return int(on_loop(work()))


def rotate_master(*, common: Common | None = None) -> int:
    """Seal keys of providers and secrets of webhooks under a new master key."""

    async def work() -> int:
        from headrace.store import provider_keys

        async with engine_of(common, work=False) as engine:
            masters = engine.own_keys.masters
            async with engine.database.transaction() as connection:
                count = await provider_keys.rotate_master(connection, masters)
            async with engine.database.transaction() as connection:
                await provider_keys.drop_old(connection, masters)
        master_id = masters.current().id
        if common is not None and common.json:
            data({"sealed": count, "master": master_id})
        else:
            line(f"{count} keys and secrets are sealed under the master key {master_id} now.")
        return 0

    return int(on_loop(work()))


def _whose(tenant: str | None, shared: bool) -> str | None:
    from headrace.errors import UsageError

    if (tenant is None) == (not shared):
        raise UsageError(
            "a key is a tenant's, or everybody's", remedy="Add --tenant ID, or --shared."
        )
    return tenant


def _secret(prompt: str) -> str:
    """Return a key that stands in no shell's history."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(prompt).strip()
    return sys.stdin.readline().strip()
