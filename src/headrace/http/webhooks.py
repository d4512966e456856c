"""``/api/webhooks``: where a tenant wants its events to go, and what became of the messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from headrace.access import Scope
from headrace.egress import read_endpoint
from headrace.engine import Engine
from headrace.errors import InputError
from headrace.http import account_bodies as bodies
from headrace.http.bodies import only, read_json
from headrace.http.described import empty, route, says
from headrace.http.entry import Entry
from headrace.http.webhook_shapes import (
    DeliveryDetail,
    DeliveryPage,
    NewWebhook,
    WebhookList,
    WebhookShape,
)
from headrace.identity import show_batch_id, show_id
from headrace.store import webhook_deliveries, webhooks
from headrace.store.webhooks import Webhook
from headrace.webhook import (
    DELIVERY_PREFIX,
    WEBHOOK_PREFIX,
    check_events,
    read_delivery_id,
    read_webhook_id,
)
from headrace.webhook_signature import new_standard_secret

BODY_BYTES_MAX = 64 * 1024
PAGE_MAX = 100
_KNOWN: dict[str, Any] = {"url": str, "events": list}
_CHANGED: dict[str, Any] = {**_KNOWN, "state": str}


class WebhookRoutes:
    """The routes of webhooks; a tenant sees its own only, and changing them needs an admin key."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._database = engine.database
        self._clock = engine.clock
        self._masters = engine.own_keys.masters
        self._allowed = frozenset(engine.config.webhooks.allowed_hosts or ())
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])
        one = "/{webhook_id}"
        route(
            router,
            "POST",
            "",
            self.create,
            body=bodies.WEBHOOK,
            s201=says(NewWebhook, "It is added."),
        )
        route(router, "GET", "", self.listed, s200=says(WebhookList, "The endpoints."))
        route(router, "GET", one, self.show, s200=says(WebhookShape, "The endpoint."))
        route(
            router,
            "PATCH",
            one,
            self.change,
            body=bodies.CHANGED_WEBHOOK,
            s200=says(WebhookShape, "As it is now."),
        )
        route(router, "DELETE", one, self.delete, s204=empty("It is deleted."))
        route(
            router,
            "POST",
            f"{one}/rotate",
            self.rotate,
            s200=says(NewWebhook, "It has another secret."),
        )
        route(router, "POST", f"{one}/ping", self.ping, s202=says(DeliveryDetail, "It goes out."))
        self._add_log(router, f"{one}/deliveries")
        return router

    def _add_log(self, router: APIRouter, path: str) -> None:
        message = f"{path}/{{delivery_id}}"
        route(router, "GET", path, self.deliveries, s200=says(DeliveryPage, "The messages."))
        route(router, "GET", message, self.delivery, s200=says(DeliveryDetail, "The message."))
        route(
            router,
            "POST",
            f"{message}/redeliver",
            self.redeliver,
            s202=says(DeliveryDetail, "It goes out again."),
        )

    async def create(self, request: Request) -> JSONResponse:
        """Add an endpoint; its secret is shown this once."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _KNOWN)
        if "url" not in body or "events" not in body:
            raise InputError("url and events are both needed")
        url = str(read_endpoint(body["url"], self._allowed))
        events, secret = check_events(body["events"]), new_standard_secret()
        async with self._database.transaction() as connection:
            webhook_id = await webhooks.insert(
                connection, self._masters, caller.tenant_id, url, events, secret, self._clock.now()
            )
            made = await webhooks.find(connection, caller.tenant_id, webhook_id)
        return JSONResponse({**webhook_json(made), "secret": secret}, 201)

    async def listed(self, request: Request) -> JSONResponse:
        """List the endpoints."""
        caller = await self._entry.let_in(request, Scope.READ)
        async with self._database.acquire() as connection:
            found = await webhooks.listed(connection, caller.tenant_id)
        return JSONResponse({"webhooks": [webhook_json(one) for one in found]})

    async def _found(self, request: Request, webhook_id: str, scope: Scope) -> Webhook:
        caller = await self._entry.let_in(request, scope)
        async with self._database.acquire() as connection:
            return await webhooks.find(connection, caller.tenant_id, read_webhook_id(webhook_id))

    async def show(self, request: Request, webhook_id: str) -> JSONResponse:
        """Show an endpoint, never its secret."""
        return JSONResponse(webhook_json(await self._found(request, webhook_id, Scope.READ)))

    async def change(self, request: Request, webhook_id: str) -> JSONResponse:
        """Change an endpoint's url or events, disable it, or enable it again."""
        found = await self._found(request, webhook_id, Scope.ADMIN)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _CHANGED)
        url = str(read_endpoint(body["url"], self._allowed)) if "url" in body else None
        events = check_events(body["events"]) if "events" in body else None
        state = body.get("state")
        if state not in (None, "enabled", "disabled"):
            raise InputError(f"state = {state[:40]!r} is neither enabled nor disabled")
        async with self._database.transaction() as connection:
            await webhooks.change(
                connection, found.tenant_id, found.id, url, events, state, self._clock.now()
            )
            now = await webhooks.find(connection, found.tenant_id, found.id)
        return JSONResponse(webhook_json(now))

    async def delete(self, request: Request, webhook_id: str) -> Response:
        """Delete an endpoint with its log."""
        found = await self._found(request, webhook_id, Scope.ADMIN)
        async with self._database.transaction() as connection:
            await webhooks.delete(connection, found.tenant_id, found.id)
        return Response(status_code=204)

    async def rotate(self, request: Request, webhook_id: str) -> JSONResponse:
        """Give an endpoint a new secret, shown this once; the old one signs as well for a day."""
        found = await self._found(request, webhook_id, Scope.ADMIN)
        secret = new_standard_secret()
        async with self._database.transaction() as connection:
            await webhooks.rotate(
                connection, self._masters, found.tenant_id, found.id, secret, self._clock.now()
            )
            now = await webhooks.find(connection, found.tenant_id, found.id)
        return JSONResponse({**webhook_json(now), "secret": secret})

    async def ping(self, request: Request, webhook_id: str) -> JSONResponse:
        """Send a message that only says hello; its path tells what became of it."""
        found = await self._found(request, webhook_id, Scope.ADMIN)
        found.check_enabled()
        async with self._database.transaction() as connection:
            delivery_id = await webhooks.ping(connection, found.id, self._clock.now())
            told = await webhook_deliveries.find(connection, found.tenant_id, found.id, delivery_id)
        return JSONResponse(delivery_json(found.id, told), 202)

    async def deliveries(
        self, request: Request, webhook_id: str, before: str | None = None, limit: int = 20
    ) -> JSONResponse:
        """List the messages, the latest first; ``next`` is the ``before`` of the next page."""
        found = await self._found(request, webhook_id, Scope.READ)
        count = max(1, min(limit, PAGE_MAX))
        behind = None if before is None else read_delivery_id(before)
        async with self._database.acquire() as connection:
            rows = await webhook_deliveries.listed(connection, found.id, behind, count)
        told = [delivery_json(found.id, row) for row in rows]
        next_ = told[-1]["id"] if len(told) == count else None
        return JSONResponse({"deliveries": told, "next": next_})

    async def delivery(self, request: Request, webhook_id: str, delivery_id: str) -> JSONResponse:
        """Show a message with its body and all its tries."""
        found = await self._found(request, webhook_id, Scope.READ)
        return JSONResponse(await self._message(found, read_delivery_id(delivery_id)))

    async def redeliver(self, request: Request, webhook_id: str, delivery_id: str) -> JSONResponse:
        """Send a message once more, under the same id."""
        found = await self._found(request, webhook_id, Scope.ADMIN)
        known = read_delivery_id(delivery_id)
        found.check_enabled()
        await self._message(found, known)
        async with self._database.transaction() as connection:
            await webhook_deliveries.redeliver(connection, known, self._clock.now())
        return JSONResponse(await self._message(found, known), 202)

    async def _message(self, found: Webhook, delivery_id: UUID) -> dict[str, Any]:
        async with self._database.acquire() as connection:
            told = await webhook_deliveries.find(connection, found.tenant_id, found.id, delivery_id)
        return delivery_json(found.id, told)


def webhook_json(found: Webhook) -> dict[str, Any]:
    """Return an endpoint as it may be shown."""
    return {
        "id": show_id(WEBHOOK_PREFIX, found.id),
        "url": found.url,
        "events": found.events,
        "state": found.state,
        "reason": found.reason,
        "failing_since": _told(found.failing_since),
        "old_secret_until": _told(found.old_secret_until),
        "created_at": found.created_at.isoformat(),
    }


def delivery_json(webhook_id: UUID, row: dict[str, Any]) -> dict[str, Any]:
    """Return a message: how the latest try went, or, where it is one, its body and all tries."""
    name = show_id(DELIVERY_PREFIX, row["id"])
    told = {
        "id": name,
        "event": row["event"],
        "batch_id": None if row["batch_id"] is None else show_batch_id(row["batch_id"]),
        "state": row["state"],
        "tries": row["tries"],
        "due_at": _told(row["due_at"]) if row["state"] == "pending" else None,
        "created_at": _told(row["created_at"]),
        "ended_at": _told(row["ended_at"]),
        "path": f"/api/webhooks/{show_id(WEBHOOK_PREFIX, webhook_id)}/deliveries/{name}",
    }
    if "tries_made" in row:
        made = [{**one, "at": _told(one["at"])} for one in row["tries_made"]]
        return {**told, "body": row["body"], "tries_made": made}
    latest = {name: row[name] for name in ("status", "error", "duration_ms")}
    return {**told, "latest": latest if row["tries"] else None}


def _told(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
