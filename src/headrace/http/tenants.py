"""``/api/tenants``: made, suspended, resumed, given a plan by the operator; each sees its own."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import ConflictError, InputError
from headrace.http import account_bodies as bodies
from headrace.http.account_shapes import TenantDetail, TenantList, TenantShape
from headrace.http.bodies import only, read_json
from headrace.http.described import route, says
from headrace.http.entry import Entry
from headrace.plan import DEFAULT
from headrace.store import allowances, plans, tenants

BODY_BYTES_MAX = 64 * 1024
_NEW = {"id": str, "name": str, "plan": str, "timezone": str, "unlimited": bool}


class TenantRoutes:
    """The routes of tenants."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._database = engine.database
        self._clock = engine.clock
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/tenants", tags=["tenants"])
        one = "/{tenant_id}"
        route(router, "GET", "", self.listed, s200=says(TenantList, "The tenants."))
        route(
            router, "POST", "", self.make, body=bodies.TENANT, s201=says(TenantShape, "It is made.")
        )
        route(router, "GET", one, self.show, s200=says(TenantDetail, "The tenant."))
        route(
            router,
            "POST",
            f"{one}/suspend",
            self.suspend,
            body=bodies.SUSPEND,
            s200=says(TenantShape, "It is suspended."),
        )
        route(router, "POST", f"{one}/resume", self.resume, s200=says(TenantShape, "It is active."))
        route(
            router,
            "POST",
            f"{one}/plan",
            self.set_plan,
            body=bodies.SET_PLAN,
            s200=says(TenantShape, "It has the plan."),
        )
        route(
            router,
            "POST",
            f"{one}/daily-credits",
            self.set_daily_cap,
            body=bodies.DAILY_CREDITS,
            s200=says(TenantShape, "The cap is set."),
        )
        return router

    async def listed(self, request: Request) -> JSONResponse:
        """List all tenants."""
        await self._entry.operator(request)
        async with self._database.acquire() as connection:
            found = await tenants.listed(connection)
        return JSONResponse({"tenants": [one.to_json() for one in found]})

    async def make(self, request: Request) -> JSONResponse:
        """Make a tenant."""
        await self._entry.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _NEW)
        async with self._database.transaction() as connection:
            made = await tenants.make(
                connection,
                body.get("id", ""),
                self._clock.now(),
                name=body.get("name"),
                plan=body.get("plan", DEFAULT),
                timezone=body.get("timezone", "UTC"),
                unlimited=body.get("unlimited", False),
            )
        return JSONResponse(made.to_json(), 201, {"Location": f"/api/tenants/{made.id}"})

    async def show(self, request: Request, tenant_id: str) -> JSONResponse:
        """Show a tenant with its plan, and what it has used of its day."""
        caller = await self._entry.let_in(request, Scope.READ)
        meant = caller.reach(tenant_id, "tenant")
        async with self._database.acquire() as connection:
            found = await tenants.find(connection, meant)
            standing = await plans.standing(connection, meant, self._clock.now())
            used = await allowances.used_today(connection, standing)
        today = allowances.today_json(standing, used)
        return JSONResponse(found.to_json() | {"plan": standing.plan.to_json(), "today": today})

    async def suspend(self, request: Request, tenant_id: str) -> JSONResponse:
        """Suspend a tenant; ``reason`` is told to whoever comes with its keys."""
        caller = await self._entry.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, {"reason": str})
        if tenant_id == caller.tenant_id:
            raise ConflictError(
                "this would end the very key that asks for it",
                remedy=f"'headrace tenants suspend {DEFAULT}' does it on the machine itself.",
            )
        async with self._database.transaction() as connection:
            found = await tenants.suspend(connection, tenant_id, body.get("reason", ""))
        return JSONResponse(found.to_json())

    async def resume(self, request: Request, tenant_id: str) -> JSONResponse:
        """End a suspension."""
        await self._entry.operator(request)
        async with self._database.transaction() as connection:
            found = await tenants.resume(connection, tenant_id)
        return JSONResponse(found.to_json())

    async def set_plan(self, request: Request, tenant_id: str) -> JSONResponse:
        """Give a tenant another plan."""
        await self._entry.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, {"plan": str})
        if "plan" not in body:
            raise InputError("plan is missing")
        async with self._database.transaction() as connection:
            found = await tenants.set_plan(connection, tenant_id, body["plan"])
        return JSONResponse(found.to_json())

    async def set_daily_cap(self, request: Request, tenant_id: str) -> JSONResponse:
        """Give a tenant a cap of its own on a day's credits; ``null`` is its plan's."""
        await self._entry.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, {"daily_microcredits_max": (int, type(None))})
        if "daily_microcredits_max" not in body:
            raise InputError(
                "daily_microcredits_max is missing",
                remedy="Send a whole number of micro-credits, or null for the plan's cap.",
            )
        async with self._database.transaction() as connection:
            found = await tenants.set_daily_cap(
                connection, tenant_id, body["daily_microcredits_max"]
            )
        return JSONResponse(found.to_json())
