"""``/api/schedules``: batches that are made on a schedule, and what became of their ticks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from headrace.access import Scope
from headrace.cron import check_cron
from headrace.engine import Engine
from headrace.errors import InputError
from headrace.http import account_bodies as bodies
from headrace.http.bodies import only, read_json
from headrace.http.described import empty, route, says
from headrace.http.entry import Caller, Entry
from headrace.http.schedule_shapes import (
    ScheduleList,
    ScheduleShape,
    TickPage,
    TickShape,
)
from headrace.identity import new_uuid
from headrace.period import read_time
from headrace.recipe import check_recipe_name
from headrace.schedule import (
    TOLD,
    Schedule,
    check_name,
    read_schedule_id,
    read_settings,
)
from headrace.schedule_rows import by_http
from headrace.schedule_settings import read_schedules
from headrace.schedule_words import schedule_json, tick_json
from headrace.store import schedule_ticks, schedules

BODY_BYTES_MAX = 256 * 1024
PAGE_MAX = 100
_SOURCE: dict[str, Any] = {"file": str, "folder": str, "query": str, "database": str}
_KNOWN: dict[str, Any] = {
    "name": str,
    "cron": str,
    "timezone": str,
    "recipe": str,
    **_SOURCE,
    **TOLD,
}
_NEEDED = ("name", "cron", "recipe")


class ScheduleRoutes:
    """The routes of schedules; a tenant sees its own only, and changing them buys, or stops it."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._database = engine.database
        self._clock = engine.clock
        self._settings = read_schedules(engine.config.schedules)
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/schedules", tags=["schedules"])
        one = "/{schedule_id}"
        is_now = says(ScheduleShape, "As it is now.")
        added = says(ScheduleShape, "Added.")
        route(router, "POST", "", self.add, body=bodies.SCHEDULE, s201=added)
        route(router, "GET", "", self.listed, s200=says(ScheduleList, "The schedules."))
        route(router, "GET", one, self.show, s200=says(ScheduleShape, "The schedule."))
        route(router, "DELETE", one, self.remove, s204=empty("It is removed."))
        route(router, "GET", f"{one}/ticks", self.ticks, s200=says(TickPage, "Its ticks."))
        route(router, "POST", f"{one}/pause", self.pause, s200=is_now)
        route(router, "POST", f"{one}/resume", self.resume, s200=is_now)
        route(router, "POST", f"{one}/run-now", self.run_now, s202=says(TickShape, "It comes."))
        return router

    async def add(self, request: Request) -> JSONResponse:
        """Add a schedule."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _KNOWN)
        missing = [name for name in _NEEDED if name not in body]
        if missing:
            raise InputError(f"{', '.join(missing)} must be told", place="body")
        made = self._made(caller, body)
        async with self._database.transaction() as connection:
            await schedules.insert(connection, made)
        location = {"Location": f"/api/schedules/{made.public_id}"}
        return JSONResponse(schedule_json(made), 201, location)

    def _made(self, caller: Caller, body: dict[str, Any]) -> Schedule:
        now, timezone = self._clock.now(), body.get("timezone", "UTC")
        tenant = caller.tenant_id
        # Raises where there is none: better now than at night.
        self._engine.recipe(check_recipe_name(body["recipe"]))
        told = {name: body[name] for name in _SOURCE if name in body}
        return Schedule(
            id=new_uuid(now),
            tenant_id=tenant,
            name=check_name(body["name"]),
            cron=body["cron"],
            timezone=timezone,
            recipe=body["recipe"],
            source=by_http(told, self._settings, tenant),
            settings=read_settings({name: body[name] for name in TOLD if name in body}),
            state="active",
            next_at=check_cron(body["cron"], timezone, now),
            created_at=now,
        )

    async def listed(self, request: Request) -> JSONResponse:
        """List the schedules."""
        caller = await self._entry.let_in(request, Scope.READ)
        async with self._database.acquire() as connection:
            found = await schedules.listed(connection, caller.tenant_id)
        return JSONResponse({"schedules": [schedule_json(one) for one in found]})

    async def _found(self, request: Request, schedule_id: str, scope: Scope) -> Schedule:
        caller = await self._entry.let_in(request, scope)
        known = read_schedule_id(schedule_id)
        async with self._database.acquire() as connection:
            return await schedules.find(connection, caller.tenant_id, known)

    async def show(self, request: Request, schedule_id: str) -> JSONResponse:
        """Show a schedule."""
        found = await self._found(request, schedule_id, Scope.READ)
        return JSONResponse(schedule_json(found))

    async def remove(self, request: Request, schedule_id: str) -> Response:
        """Remove a schedule with its history; the batches that it made stay."""
        found = await self._found(request, schedule_id, Scope.SUBMIT)
        async with self._database.transaction() as connection:
            await schedules.delete(connection, found.tenant_id, found.id)
        return Response(status_code=204)

    async def ticks(
        self, request: Request, schedule_id: str, before: str | None = None, limit: int = 20
    ) -> JSONResponse:
        """List ticks, the latest first; ``next`` is the ``before`` of the next page."""
        found = await self._found(request, schedule_id, Scope.READ)
        count = max(1, min(limit, PAGE_MAX))
        behind = None if before is None else read_time(before, "before")
        async with self._database.acquire() as connection:
            rows = await schedule_ticks.history(connection, found.id, behind, count)
        told = [tick_json(row) for row in rows]
        return JSONResponse({"ticks": told, "next": told[-1]["at"] if len(told) == count else None})

    async def pause(self, request: Request, schedule_id: str) -> JSONResponse:
        """Let no tick come; batches that are there go on."""
        found = await self._found(request, schedule_id, Scope.SUBMIT)
        return await self._moved(found, "paused", None)

    async def resume(self, request: Request, schedule_id: str) -> JSONResponse:
        """Let ticks come again; those of the pause are not made up for."""
        found = await self._found(request, schedule_id, Scope.SUBMIT)
        if found.state == "active":
            return JSONResponse(schedule_json(found))
        later = check_cron(found.cron, found.timezone, self._clock.now())
        return await self._moved(found, "active", later)

    async def _moved(self, found: Schedule, state: str, next_at: datetime | None) -> JSONResponse:
        async with self._database.transaction() as connection:
            await schedules.move(connection, found.tenant_id, found.id, state, next_at)
            now = await schedules.find(connection, found.tenant_id, found.id)
        return JSONResponse(schedule_json(now))

    async def run_now(self, request: Request, schedule_id: str) -> JSONResponse:
        """Let a tick come now, whatever the time and also while paused; a worker makes it."""
        found = await self._found(request, schedule_id, Scope.SUBMIT)
        async with self._database.transaction() as connection:
            now = self._clock.now()
            await schedule_ticks.add_by_hand(connection, found, now)
            (row,) = await schedule_ticks.history(connection, found.id, None, 1)
        return JSONResponse(tick_json(row), 202)
