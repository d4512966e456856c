"""``/api/price-book``: what results cost, now and in times past; the operator adds rules."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import UsageError
from headrace.http import account_bodies as bodies
from headrace.http.bodies import only, read_json
from headrace.http.credit_shapes import RuleList, RulePage, RuleShape
from headrace.http.described import route, says
from headrace.http.entry import Entry
from headrace.price_book import read_rule
from headrace.store import price_book

PAGE_MAX = 500
BODY_BYTES_MAX = 64 * 1024
_AMOUNT = (str, int, float)
_RULE: dict[str, Any] = {
    "kind": str,
    "name": str,
    "credits": _AMOUNT,
    "margin": _AMOUNT,
    "credits_per_usd": _AMOUNT,
    "at_most": _AMOUNT,
    "cached_credits": _AMOUNT,
    "from": str,
    "end": bool,
}
_HIDDEN = ("margin", "credits_per_usd")


class PriceBook:
    """The routes of the price book."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/price-book", tags=["credits"])
        route(router, "GET", "", self.show, s200=says(RuleList, "The rules in force."))
        route(router, "POST", "", self.add, body=bodies.RULE, s201=says(RuleShape, "It is added."))
        route(router, "GET", "/history", self.history, s200=says(RulePage, "The rules."))
        return router

    async def show(self, request: Request) -> JSONResponse:
        """List the rules in force; margins are told to the operator only."""
        caller = await self._entry.let_in(request, Scope.READ)
        hidden = () if caller.is_operator else _HIDDEN
        async with self._engine.database.acquire() as connection:
            rules = await price_book.in_force(connection, self._engine.clock.now())
        told = [
            {name: value for name, value in rule.to_json().items() if name not in hidden}
            for rule in rules
        ]
        return JSONResponse({"rules": told})

    async def history(
        self, request: Request, cursor: str | None = None, limit: int = 100
    ) -> JSONResponse:
        """List every rule that was added, the latest first, also ended and coming ones."""
        await self._entry.operator(request)
        limit = max(1, min(limit, PAGE_MAX))
        before = price_book.ID_MAX if cursor is None else _before(cursor)
        async with self._engine.database.acquire() as connection:
            rules = await price_book.history(connection, before, limit)
        next_ = str(rules[-1].id) if len(rules) == limit else None
        return JSONResponse({"rules": [rule.to_json() for rule in rules], "next": next_})

    async def add(self, request: Request) -> JSONResponse:
        """Add a rule: a price that holds from now on, or from a time to come, or its end."""
        await self._entry.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _RULE)
        now = self._engine.clock.now()
        rule = read_rule(body, now)
        async with self._engine.database.transaction() as connection:
            made = await price_book.add(connection, rule, now)
        return JSONResponse(made.to_json(), 201)


def _before(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
        raise UsageError("the cursor is none of ours", remedy="Send the 'next' of a page, or none.")
    return int(cursor)
