"""``/api/plans``: what tenants may sign up for, set by the operator."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.engine import Engine
from headrace.http import account_bodies as bodies
from headrace.http.account_shapes import PlanList, PlanShape
from headrace.http.bodies import read_json
from headrace.http.described import route, says
from headrace.http.entry import Entry
from headrace.store import plans

BODY_BYTES_MAX = 64 * 1024


class PlanRoutes:
    """The routes of plans."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._database = engine.database
        self._clock = engine.clock
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/plans", tags=["plans"])
        route(router, "GET", "", self.listed, s200=says(PlanList, "The plans."))
        route(router, "GET", "/{name}", self.show, s200=says(PlanShape, "The plan."))
        route(
            router,
            "PUT",
            "/{name}",
            self.put,
            body=bodies.PLAN,
            s200=says(PlanShape, "As it is now."),
        )
        return router

    async def listed(self, request: Request) -> JSONResponse:
        """List all plans."""
        await self._entry.operator(request)
        async with self._database.acquire() as connection:
            found = await plans.listed(connection)
        return JSONResponse({"plans": [plan.to_json() for plan in found]})

    async def show(self, request: Request, name: str) -> JSONResponse:
        """Show a plan."""
        await self._entry.operator(request)
        async with self._database.acquire() as connection:
            return JSONResponse((await plans.find(connection, name)).to_json())

    async def put(self, request: Request, name: str) -> JSONResponse:
        """Make a plan, or change what the body names of it; ``null`` takes a limit away."""
        await self._entry.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        async with self._database.transaction() as connection:
            made = await plans.put(connection, name, body, self._clock.now())
        return JSONResponse(made.to_json())
