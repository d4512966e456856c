"""``webhooks create | list | delete | ping | test | …``: where a tenant's events go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from uuid import UUID

    from headrace.engine import Engine
    from headrace.store.webhook_deliveries import Tried

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
        from headrace.store import tenants, webhooks
        from headrace.webhook import WEBHOOK_PREFIX, check_events
        from headrace.webhook_signature import new_standard_secret

        secret = new_standard_secret()
        async with engine_of(common, work=False) as engine:
            allowed = frozenset(engine.config.webhooks.allowed_hosts or ())
            where, wanted = str(read_endpoint(url, allowed)), check_events(events)
            async with engine.database.transaction() as connection:
                await tenants.find(connection, tenant)
                masters = engine.own_keys.masters
                made = await webhooks.insert(
                    connection, masters, tenant, where, wanted, secret, engine.clock.now()
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
            found.check_enabled()
            sent = await webhooks.ping(connection, found.id, engine.clock.now())
        line(f"{show_id(DELIVERY_PREFIX, sent)} goes out as soon as a worker runs.")
        return 0

    return int(on_loop(work()))


def try_(webhook: str, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Say hello from this machine, signed, and show what came back; exit 1 if it was not taken."""

    async def work() -> int:
        from headrace.webhook import read_webhook_id

        known = read_webhook_id(webhook)
        async with engine_of(common, work=False) as engine:
            tried = await _hello(engine, tenant, known)
        took = f"in {tried.duration_s * 1000:.0f} ms"
        if common is not None and common.json:
            data(
                {
                    "status": tried.status,
                    "error": tried.error,
                    "answer": tried.excerpt,
                    "duration_ms": round(tried.duration_s * 1000),
                }
            )
        elif tried.error is None:
            line(f"It was taken: HTTP {tried.status} {took}.")
        else:
            line(f"It was not taken, {took}: {tried.error}. {tried.excerpt}".strip())
        return 0 if tried.error is None else 1

    return int(on_loop(work()))


async def _hello(engine: Engine, tenant: str, known: UUID) -> Tried:
    from headrace.held import encode_json
    from headrace.identity import new_uuid, show_id
    from headrace.store import webhook_secrets, webhooks
    from headrace.webhook import DELIVERY_PREFIX, PING, WEBHOOK_PREFIX, message
    from headrace.webhook_post import WebhookPost
    from headrace.webhook_signature import standard_headers

    now = engine.clock.now()
    async with engine.database.acquire() as connection:
        found = await webhooks.find(connection, tenant, known)
        masters = engine.own_keys.masters
        secrets = await webhook_secrets.of(connection, masters, tenant, known, now)
    message_id = new_uuid(now)
    hello = {"id": show_id(WEBHOOK_PREFIX, known)}
    body = encode_json(message(message_id, PING, now, hello))
    headers = standard_headers(show_id(DELIVERY_PREFIX, message_id), body, secrets, now)
    post = WebhookPost(engine.clock, frozenset(engine.config.webhooks.allowed_hosts or ()))
    try:
        return await post.send(found.url, body, headers)
    finally:
        await post.close()


def rotate(webhook: str, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Make another secret, shown this once; the old one signs as well for a day."""

    async def work() -> int:
        from headrace.store import webhooks
        from headrace.webhook import read_webhook_id
        from headrace.webhook_signature import new_standard_secret

        known, secret = read_webhook_id(webhook), new_standard_secret()
        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            masters, now = engine.own_keys.masters, engine.clock.now()
            until = await webhooks.rotate(connection, masters, tenant, known, secret, now)
        if common is not None and common.json:
            data({"id": webhook, "secret": secret, "old_secret_until": until.isoformat()})
        else:
            line(f"Its secret, shown this once: {secret}")
            line(f"The one before signs as well until {until:%Y-%m-%d %H:%M} UTC.")
        return 0

    return int(on_loop(work()))


def deliveries(
    webhook: str,
    message: Annotated[str | None, Parameter(help="One message: its body and all tries.")] = None,
    /,
    *,
    limit: Annotated[
        int,
        Parameter(help="How many, the latest first.", validator=validators.Number(gte=1, lte=500)),
    ] = 20,
    tenant: Tenant = "default",
    common: Common | None = None,
) -> int:
    """Show what was sent to an endpoint, and how it went."""

    async def work() -> int:
        from headrace.http.webhooks import delivery_json
        from headrace.store import webhook_deliveries, webhooks
        from headrace.webhook import read_delivery_id, read_webhook_id

        known = read_webhook_id(webhook)
        async with engine_of(common, work=False) as engine, engine.database.acquire() as connection:
            await webhooks.find(connection, tenant, known)
            if message is None:
                rows = await webhook_deliveries.listed(connection, known, None, limit)
            else:
                one = read_delivery_id(message)
                rows = [await webhook_deliveries.find(connection, tenant, known, one)]
        told = [delivery_json(known, row) for row in rows]
        if common is not None and common.json:
            data(told if message is None else told[0])
        elif message is None:
            table(["message", "event", "state", "tries", "latest"], [_row(one) for one in told])
        else:
            line(told[0]["body"])
            table(["try", "at", "status", "why", "answer"], _tries(told[0]))
        return 0

    return int(on_loop(work()))


def _row(told: dict[str, Any]) -> list[str]:
    latest = told["latest"] or {}
    went = latest.get("error") or (f"HTTP {latest['status']}" if latest else "")
    return [told["id"], told["event"], told["state"], str(told["tries"]), went]


def _tries(told: dict[str, Any]) -> list[list[str]]:
    return [
        [
            str(one["number"]),
            one["at"],
            "" if one["status"] is None else str(one["status"]),
            one["error"] or "",
            one["excerpt"] or "",
        ]
        for one in told["tries_made"]
    ]


def redeliver(
    webhook: str, message: str, *, tenant: Tenant = "default", common: Common | None = None
) -> int:
    """Let a worker send a message once more, under the same id."""

    async def work() -> int:
        from headrace.store import webhook_deliveries, webhooks
        from headrace.webhook import read_delivery_id, read_webhook_id

        known, one = read_webhook_id(webhook), read_delivery_id(message)
        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            found = await webhooks.find(connection, tenant, known)
            found.check_enabled()
            await webhook_deliveries.find(connection, tenant, known, one)
            await webhook_deliveries.redeliver(connection, one, engine.clock.now())
        line(f"{message} goes out again as soon as a worker runs.")
        return 0

    return int(on_loop(work()))
