"""Privacy: forget a batch or all of a tenant, take everything out, and how long data is kept."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import InputError
from headrace.forgetting import Forgetting
from headrace.http import account_bodies as bodies
from headrace.http.account_shapes import Forgotten, RetentionShape
from headrace.http.bodies import only, read_json
from headrace.http.described import empty, gives, route, says
from headrace.http.entry import Caller, Entry
from headrace.identity import read_batch_id
from headrace.store import erasure
from headrace.takeout import Takeout

DAYS_MAX = 36_500
BODY_BYTES_MAX = 4096
_DAYS: dict[str, Any] = {f"{kind}_days": (int, type(None)) for kind in erasure.KINDS}


class PrivacyRoutes:
    """The routes by which data leaves."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry
        self._forgetting = Forgetting(engine.database, engine.clock)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api", tags=["privacy"])
        route(router, "DELETE", "/batches/{batch_id}", self.forget, s204=empty("It is forgotten."))
        route(
            router,
            "DELETE",
            "/tenants/{tenant_id}/data",
            self.forget_all,
            s200=says(Forgotten, "All is forgotten."),
        )
        route(
            router,
            "GET",
            "/export",
            self.export,
            s200=gives("All data, a JSON object a line.", "application/jsonl"),
        )
        route(router, "GET", "/retention", self.kept, s200=says(RetentionShape, "The days."))
        route(
            router,
            "PUT",
            "/retention",
            self.keep,
            body=bodies.RETENTION,
            s200=says(RetentionShape, "As it is now."),
        )
        return router

    async def forget(self, request: Request, batch_id: str) -> Response:
        """Forget a batch that has ended; 409 while it runs."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        await self._forgetting.batch(read_batch_id(batch_id), caller.tenant_id)
        return Response(status_code=204)

    async def forget_all(self, request: Request, tenant_id: str) -> JSONResponse:
        """Forget all data of a tenant: one's own, or for the operator any."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        reached = caller.reach(tenant_id, "tenant")
        return JSONResponse({"forgotten_batches": await self._forgetting.tenant(reached)})

    async def export(self, request: Request) -> StreamingResponse:
        """Stream all data of the tenant, a JSON object a line."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        engine = self._engine
        takeout = Takeout(engine.database, engine.blobs, engine.clock, caller.tenant_id)
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="headrace-export.jsonl"',
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(takeout.lines(), headers=headers, media_type="application/jsonl")

    async def kept(self, request: Request) -> JSONResponse:
        """Say how many days the tenant's data is kept; null is for good."""
        caller = await self._entry.let_in(request, Scope.READ)
        return JSONResponse(await self._days(caller))

    async def keep(self, request: Request) -> JSONResponse:
        """Set how many days the tenant's data is kept."""
        caller = await self._entry.let_in(request, Scope.ADMIN)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _DAYS)
        for name, days in body.items():
            if days is not None and not 1 <= days <= DAYS_MAX:
                raise InputError(f"{name} = {days} is not 1 to {DAYS_MAX}", place=name)
        kept = self._engine.config.retention
        settings = (kept.inputs_days, kept.artifacts_days, kept.events_days)
        async with self._engine.database.transaction() as connection:
            days = await erasure.set_retention(connection, caller.tenant_id, body, settings)
        return JSONResponse(days)

    async def _days(self, caller: Caller) -> dict[str, int | None]:
        async with self._engine.database.acquire() as connection:
            own = await erasure.retention(connection, caller.tenant_id)
        settings = self._engine.config.retention
        return own or {name: getattr(settings, name) for name in _DAYS}
