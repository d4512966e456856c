"""``/api/keys``: an admin key makes, rotates and revokes its tenant's, the operator's any."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import ApiKey, Scope
from headrace.engine import Engine
from headrace.errors import ConflictError, InputError
from headrace.http import account_bodies as bodies
from headrace.http.account_shapes import KeyList, KeyShape, NewKey
from headrace.http.bodies import only, read_json
from headrace.http.described import route, says
from headrace.http.entry import Caller, Entry
from headrace.nearest import did_you_mean
from headrace.period import read_time
from headrace.store import keys, tenants

BODY_BYTES_MAX = 64 * 1024
GRACE_S = 24 * 3600
GRACE_S_MAX = 30 * 24 * 3600
_NEW = {"name": str, "tenant": str, "scope": str, "expires_at": (str, type(None))}
# Made and shown once, so nobody on the way may keep it.
_SECRET = {"Cache-Control": "no-store"}


class KeyRoutes:
    """The routes of keys; one of another tenant is not there."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._database = engine.database
        self._clock = engine.clock
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/keys", tags=["keys"])
        route(router, "GET", "", self.listed, s200=says(KeyList, "The keys."))
        route(router, "POST", "", self.make, body=bodies.KEY, s201=says(NewKey, "It is made."))
        route(
            router,
            "POST",
            "/{key_id}/rotate",
            self.rotate,
            body=bodies.ROTATE_KEY,
            s201=says(NewKey, "Its successor."),
        )
        route(
            router, "POST", "/{key_id}/revoke", self.revoke, s200=says(KeyShape, "It is revoked.")
        )
        return router

    async def listed(self, request: Request, tenant: str | None = None) -> JSONResponse:
        """List keys, the oldest first: the tenant's, or for the operator all of them."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        meant = caller.reach_all(tenant, "tenant")
        async with self._database.acquire() as connection:
            found = await keys.listed(connection, meant)
        now = self._clock.now()
        return JSONResponse({"keys": [key.to_json(now) for key in found]})

    async def make(self, request: Request) -> JSONResponse:
        """Make a key; it is in the answer, and never again anywhere."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _NEW)
        meant = caller.reach(body.get("tenant"), "tenant")
        scope, ends = _scope(body.get("scope", "submit")), _time(body.get("expires_at"))
        now = self._clock.now()
        async with self._database.transaction() as connection:
            await tenants.find(connection, meant)
            secret, made = await keys.make(
                connection, meant, body.get("name", ""), scope, now, ends
            )
        return JSONResponse({"key": secret, **made.to_json(now)}, 201, _SECRET)

    async def rotate(self, request: Request, key_id: str) -> JSONResponse:
        """Make a key that takes another's place, which is good for ``grace_s`` more."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, {"grace_s": int})
        grace_s = body.get("grace_s", GRACE_S)
        if not 0 <= grace_s <= GRACE_S_MAX:
            raise InputError(f"grace_s must be from 0 to {GRACE_S_MAX}, not {grace_s}")
        now = self._clock.now()
        async with self._database.transaction() as connection:
            old = await self._one(connection, caller, key_id)
            secret, made = await keys.rotate(connection, old, timedelta(seconds=grace_s), now)
        return JSONResponse({"key": secret, **made.to_json(now)}, 201, _SECRET)

    async def revoke(self, request: Request, key_id: str) -> JSONResponse:
        """End a key, within a few seconds everywhere."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        now = self._clock.now()
        async with self._database.transaction() as connection:
            key = await self._one(connection, caller, key_id)
            if key.id == caller.key.id:
                raise ConflictError(
                    "this would end the very key that asks for it",
                    remedy="Ask with another, or rotate it.",
                )
            await keys.revoke_one(connection, key.id, now)
            key = await self._one(connection, caller, key_id)
        return JSONResponse(key.to_json(now))

    async def _one(self, connection: Any, caller: Caller, key_id: str) -> ApiKey:
        return await keys.one(connection, key_id, None if caller.is_operator else caller.tenant_id)


def _scope(word: str) -> Scope:
    known = [scope.value for scope in Scope]
    if word not in known:
        raise InputError(f"{word[:40]!r} is not a scope", remedy=did_you_mean(word[:40], known))
    return Scope(word)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    with suppress(ValueError):
        if datetime.fromisoformat(text).tzinfo is not None:
            return read_time(text, "expires_at")
    raise InputError(
        f"expires_at = {text[:40]!r} is not a time",
        remedy='Write it as RFC 3339 does: "2027-01-31T12:00:00Z".',
    )
