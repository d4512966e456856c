"""``/api/credits``: what a tenant has, every movement of it, grants, and the audit."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import InputError, UsageError
from headrace.http import account_bodies as bodies
from headrace.http.bodies import only, read_json
from headrace.http.credit_shapes import AuditShape, BalanceShape, EntryPage, GrantShape
from headrace.http.described import route, says
from headrace.http.entry import Entry as Door
from headrace.identity import show_batch_id
from headrace.period import read_time
from headrace.price import read_credits
from headrace.price_book import plain
from headrace.purse import Lot
from headrace.store import audit, ledger
from headrace.store import credits as store
from headrace.store.credits import BEHIND_ALL, Entry, Place

PAGE_MAX = 500
BODY_BYTES_MAX = 64 * 1024
TEXT_CHARS_MAX = 200
_GRANT = {
    "tenant": str, "credits": (str, int, float), "reason": str, "reference": str,
    "expires_at": (str, type(None)),
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Read = Callable[..., Awaitable[list[Entry]]]


class Credits:
    """The routes of credits; a key sees its own tenant's, the operator's those of any."""

    def __init__(self, engine: Engine, door: Door) -> None:
        self._engine = engine
        self._door = door
        self._auditing = asyncio.Lock()

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/credits", tags=["credits"])
        route(router, "GET", "/balance", self.balance, s200=says(BalanceShape, "The balance."))
        route(router, "GET", "/entries", self.entries, s200=says(EntryPage, "The entries."))
        route(router, "GET", "/grants", self.grants, s200=says(EntryPage, "The grants."))
        route(
            router,
            "POST",
            "/grants",
            self.grant,
            body=bodies.GRANT,
            s200=says(GrantShape, "It was there already."),
            s201=says(GrantShape, "It is granted."),
        )
        route(router, "GET", "/verify", self.verify, s200=says(AuditShape, "What was found."))
        return router

    async def balance(self, request: Request, tenant: str | None = None) -> JSONResponse:
        """Show what a tenant has."""
        tenant_id = await whose(self._door, request, tenant)
        async with self._engine.database.acquire("repeatable_read") as connection:
            found, lots = await store.expiring(connection, tenant_id)
        told = {
            "tenant": tenant_id,
            "available_microcredits": found.available_microcredits,
            "held_microcredits": found.held_microcredits,
            "unlimited": found.unlimited,
            "expiring": [_lot_json(lot) for lot in lots],
        }
        return JSONResponse(told, headers=NOT_KEPT)

    async def entries(
        self,
        request: Request,
        cursor: str | None = None,
        limit: int = 100,
        tenant: str | None = None,
    ) -> JSONResponse:
        """List a tenant's entries, the latest first."""
        return await self._listed(store.entries, request, cursor, limit, tenant)

    async def grants(
        self,
        request: Request,
        cursor: str | None = None,
        limit: int = 100,
        tenant: str | None = None,
    ) -> JSONResponse:
        """List a tenant's grants, the latest first."""
        return await self._listed(store.grants, request, cursor, limit, tenant)

    async def _listed(
        self, read: Read, request: Request, cursor: str | None, limit: int, tenant: str | None
    ) -> JSONResponse:
        tenant_id = await whose(self._door, request, tenant)
        place, limit = read_cursor(cursor), max(1, min(limit, PAGE_MAX))
        async with self._engine.database.acquire() as connection:
            found = await read(connection, self._engine.accounts, tenant_id, place, limit)
        next_ = show_cursor(found[-1].place) if len(found) == limit else None
        told = {"entries": [entry_json(one) for one in found], "next": next_}
        return JSONResponse(told, headers=NOT_KEPT)

    async def grant(self, request: Request) -> JSONResponse:
        """Give a tenant credits, of one reference only once."""
        caller = await self._door.operator(request)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _GRANT)
        amount = read_credits(str(body.get("credits", "")))
        reference = _text(body, "reference", "")
        tenant_id = caller.reach(body.get("tenant"), "tenant")
        reason = _text(body, "reason", "granted")
        until = body.get("expires_at")
        expires_at = None if until is None else read_time(until, "expires_at")
        now = self._engine.clock.now()
        async with self._engine.database.transaction() as connection:
            await store.balance(connection, tenant_id)
            made = await ledger.grant(
                connection,
                self._engine.accounts,
                tenant_id,
                amount,
                reason,
                now,
                reference,
                expires_at,
            )
        told = {
            "entry": str(made.id),
            "tenant": tenant_id,
            "microcredits": made.amount_microcredits,
            "credits": plain(made.amount_microcredits),
            "reason": made.reason,
            "reference": reference,
            "at": made.created_at.isoformat(),
            "expires_at": _iso(made.expires_at),
        }
        return JSONResponse(told, 201 if made.is_new else 200)

    async def verify(self, request: Request) -> JSONResponse:
        """Audit ledger, items and counts of all tenants, as ``headrace ledger verify`` does."""
        await self._door.operator(request)
        # One at a time: it reads everything.
        async with self._auditing, self._engine.database.acquire("repeatable_read") as connection:
            findings = await audit.verify(connection)
        checks = [name for name, _ in audit.CHECKS]
        told = {"clean": not findings, "checks": checks, "findings": findings}
        return JSONResponse(told, headers=NOT_KEPT)


NOT_KEPT = {"Cache-Control": "no-store"}


async def whose(door: Door, request: Request, tenant: str | None) -> str:
    """Return the tenant that is asked about: the caller's own, or, for the operator, any.

    Raises ``NotFoundError`` for another's, so that nobody learns who there is.
    """
    caller = await door.let_in(request, Scope.READ)
    return caller.reach(tenant, "tenant")


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return an entry; ``available`` and ``held`` are what it adds to either, micro-credits."""
    return {
        "entry": str(entry.id),
        "at": entry.created_at.isoformat(),
        "kind": entry.kind,
        "microcredits": entry.amount_microcredits,
        "available": entry.available_microcredits,
        "held": entry.held_microcredits,
        "batch": None if entry.batch_id is None else show_batch_id(entry.batch_id),
        "row_number": None if entry.idx is None else entry.idx + 1,
        "round": entry.round,
        "attempt": entry.attempt,
        "reason": entry.reason,
        "reference": entry.reference,
        "expires_at": _iso(entry.expires_at),
    }


def _lot_json(lot: Lot) -> dict[str, Any]:
    return {
        "entry": str(lot.grant_id),
        "expires_at": lot.expires_at.isoformat(),
        "available_microcredits": lot.available,
        "held_microcredits": lot.held,
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def show_cursor(place: Place) -> str:
    """Return a place as a caller is given it."""
    told = f"{(place.at - _EPOCH) // timedelta(microseconds=1)}.{place.id}"
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> Place:
    """Return the place that a cursor names; raises ``UsageError`` for what is none of ours."""
    if cursor is None:
        return BEHIND_ALL
    try:
        told = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        micros, _, number = told.decode("ascii").partition(".")
        place = Place(_EPOCH + timedelta(microseconds=int(micros)), int(number))
        if not 0 <= place.id < 2**63:
            raise ValueError
    except (ValueError, binascii.Error, OverflowError):
        raise UsageError(
            "the cursor is none of ours", remedy="Send the 'next' of the page before, or none."
        ) from None
    return place


def _text(body: dict[str, Any], name: str, default: str) -> str:
    value: str = body.get(name, default)
    if not 0 < len(value) <= TEXT_CHARS_MAX or not value.isprintable():
        raise InputError(
            f"{name} must be a text of 1 to {TEXT_CHARS_MAX} characters",
            remedy="A reference makes a grant that is sent again the same one."
            if name == "reference"
            else "",
        )
    return value
