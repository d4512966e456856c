"""``webhooks create | list | delete | ping``: where a tenant's events go."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

Tenant = Annotated[str, Parameter(help="Whose webhook it is.")]


def create(
    url: Annotated[str, Parameter(help="Where to: https, on the open internet.")],
    events: Annotated[list[str], Parameter(help="Which events: batch.completed, item.failed …")],
    /,
    *,
    tenant: Tenant = "default",
    common: Common | None = None,
) -> int:
    """Add an endpoint; its secret is shown this once."""

    async def work() -> int:
        from headrace.egress import read_endpoint
        from headrace.identity import show_id
        from headrace.store import webhooks
        from headrace.webhook import WEBHOOK_PREFIX, check_events
        from headrace.webhook_signature import new_standard_secret

        secret = new_standard_secret()
        async with engine_of(common, work=False) as engine:
            allowed = frozenset(engine.config.webhooks.allowed_hosts or ())
            where, wanted = str(read_endpoint(url, allowed)), check_events(events)
            async with engine.database.transaction() as connection:
                made = await webhooks.insert(
                    connection, tenant, where, wanted, secret, engine.clock.now()
                )
        name = show_id(WEBHOOK_PREFIX, made)
        if common is not None and common.json:
            data({"id": name, "url": where, "events": wanted, "secret": secret})
        else:
            line(f"{name} is told of {', '.join(wanted)}.")
            line(f"Its secret, shown this once: {secret}")
        return 0

    return int(on_loop(work()))


def list_(*, tenant: Tenant = "default", common: Common | None = None) -> int:
    """List a tenant's endpoints."""

    async def work() -> int:
        from headrace.identity import show_id
        from headrace.store import webhooks
        from headrace.webhook import WEBHOOK_PREFIX

        async with engine_of(common, work=False) as engine, engine.database.acquire() as connection:
            found = await webhooks.listed(connection, tenant)
        head = ["webhook", "url", "events", "state", "why"]
        rows = [
            [show_id(WEBHOOK_PREFIX, w.id), w.url, ", ".join(w.events), w.state, w.reason or ""]
            for w in found
        ]
        if common is not None and common.json:
            data([dict(zip(head, row, strict=True)) for row in rows])
        else:
            table(head, rows)
        return 0

    return int(on_loop(work()))


def delete(webhook: str, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Delete an endpoint with its log."""

    async def work() -> int:
        from headrace.store import webhooks
        from headrace.webhook import read_webhook_id

        known = read_webhook_id(webhook)
        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            await webhooks.delete(connection, tenant, known)
        line(f"{webhook} is deleted.")
        return 0

    return int(on_loop(work()))


def ping(webhook: str, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Let a worker send a message that only says hello."""

    async def work() -> int:
        from headrace.identity import show_id
        from headrace.store import webhooks
        from headrace.webhook import DELIVERY_PREFIX, read_webhook_id

        known = read_webhook_id(webhook)
        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            found = await webhooks.find(connection, tenant, known)
            sent = await webhooks.ping(connection, found.id, engine.clock.now())
        line(f"{show_id(DELIVERY_PREFIX, sent)} goes out as soon as a worker runs.")
        return 0

    return int(on_loop(work()))
