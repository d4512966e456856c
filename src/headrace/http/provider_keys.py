"""``/api/provider-keys``: the keys that tenants buy with, sealed at rest and never shown."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import ConfigError, InputError, NotFoundError
from headrace.http import account_bodies as bodies
from headrace.http.account_shapes import ProviderKeyGone, ProviderKeyList, ProviderKeyShape
from headrace.http.bodies import only, read_json
from headrace.http.described import route, says
from headrace.http.entry import Caller, Entry, ForbiddenError
from headrace.store import provider_keys, tenants

BODY_BYTES_MAX = 64 * 1024
_KNOWN = {"key": str, "tenant": str, "shared": bool}


class ProviderKeyRoutes:
    """The routes of keys of providers: a tenant's own, and for the operator all."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._database = engine.database
        self._clock = engine.clock
        self._own_keys = engine.own_keys
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/provider-keys", tags=["provider keys"])
        route(router, "GET", "", self.listed, s200=says(ProviderKeyList, "Which keys there are."))
        route(
            router,
            "PUT",
            "/{provider}",
            self.put,
            body=bodies.PROVIDER_KEY,
            s200=says(ProviderKeyShape, "It is kept."),
        )
        route(
            router,
            "DELETE",
            "/{provider}",
            self.remove,
            s200=says(ProviderKeyGone, "It is removed."),
        )
        return router

    async def listed(self, request: Request, tenant: str | None = None) -> JSONResponse:
        """List which keys there are, never a key."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        meant = caller.reach_all(tenant, "tenant")
        async with self._database.acquire() as connection:
            found = await provider_keys.listed(connection, meant)
        return JSONResponse({"provider_keys": [key.to_json() for key in found]})

    async def put(self, request: Request, provider: str) -> JSONResponse:
        """Keep a key, instead of the one before; within a few seconds it is bought with."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _KNOWN)
        meant = _whose(caller, body.get("tenant"), body.get("shared", False))
        secret = body.get("key", "")
        try:
            self._own_keys.check(provider, secret)
        except ConfigError as error:
            # Of the settings only the name is the caller's, and only the operator's the rest.
            why = error.message if caller.is_operator else "it is not there, or takes no key"
            raise InputError(
                f"the provider {provider[:80]!r} cannot have this key: {why}"
            ) from None
        async with self._database.transaction() as connection:
            if meant is not None:
                await tenants.find(connection, meant)
            made = await provider_keys.put(
                connection, self._own_keys.masters, meant, provider, secret, self._clock.now()
            )
        return JSONResponse(made.to_json())

    async def remove(
        self, request: Request, provider: str, tenant: str | None = None, shared: bool = False
    ) -> JSONResponse:
        """Remove a key; the tenant then buys with the installation's."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        meant = _whose(caller, tenant, shared)
        async with self._database.transaction() as connection:
            if not await provider_keys.remove(connection, meant, provider):
                raise NotFoundError(f"there is no key for {provider[:80]!r}")
        return JSONResponse({"provider": provider, "tenant": meant, "removed": True})


def _whose(caller: Caller, tenant: str | None, shared: bool) -> str | None:
    """Return whose key is meant, ``None`` for everybody's."""
    if not shared:
        return caller.reach(tenant, "tenant")
    if tenant is not None:
        raise InputError("a key is a tenant's, or everybody's", remedy="Leave one of them out.")
    if not caller.is_operator:
        raise ForbiddenError("a key for everybody is set by whoever runs the installation")
    return None
