"""``/api/credits/statement``: a period as JSON, as a table, or its costs in FOCUS's columns."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from headrace.engine import Engine
from headrace.errors import UsageError
from headrace.http.account_bodies import STATEMENT_QUERY
from headrace.http.credit_shapes import StatementShape
from headrace.http.credits import NOT_KEPT, entry_json, whose
from headrace.http.described import described, gives, says
from headrace.http.entry import Entry
from headrace.identity import show_batch_id
from headrace.nearest import did_you_mean
from headrace.period import Period, read_period
from headrace.reports.cells import millionths, safe_cell
from headrace.store import credits as store
from headrace.store.credits import Charge

FORMATS = ("json", "csv", "focus")
HEAD = (
    "entry", "at", "kind", "batch", "row_number", "round", "attempt", "credits",
    "available_change", "held_change", "available", "held", "reason", "reference",
)  # fmt: skip
FOCUS = (
    "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "BillingCurrency",
    "BillingAccountId", "SubAccountId", "BillingPeriodStart", "BillingPeriodEnd",
    "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeFrequency",
    "ChargeDescription", "ProviderName", "PublisherName", "InvoiceIssuerName", "ServiceCategory",
    "ServiceName", "SkuId", "ResourceId", "ConsumedQuantity", "ConsumedUnit", "x_CostBasis",
)  # fmt: skip
"""Columns of the FinOps Open Cost and Usage Specification, 1.x, and one of ours."""

_encode = msgspec.json.Encoder().encode


class Statements:
    """The route of statements; they are streamed, and a slow reader holds no connection."""

    def __init__(self, engine: Engine, door: Entry) -> None:
        self._engine = engine
        self._door = door

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter(prefix="/api/credits", tags=["credits"])
        found = says(StatementShape, "The period.")
        found["content"] |= gives("", "text/csv")["content"]
        told = described(s200=found)
        told["openapi_extra"]["parameters"] = STATEMENT_QUERY
        router.add_api_route("/statement", self.statement, methods=["GET"], **told)
        return router

    async def statement(self, request: Request, tenant: str | None = None) -> StreamingResponse:
        """Stream the entries of a period, or what its calls cost."""
        tenant_id = await whose(self._door, request, tenant)
        query = request.query_params
        form = query.get("format", "json")
        if form not in FORMATS:
            raise UsageError(f"{form[:40]!r} is not a format", remedy=did_you_mean(form, FORMATS))
        period = read_period(query.get("from"), query.get("to"), self._engine.clock.now())
        lend, accounts = self._engine.database.acquire, self._engine.accounts
        async with lend("repeatable_read") as connection:
            opening = await store.opening(connection, accounts, tenant_id, period.begins_at)
        if form == "focus":
            pages = store.charges(lend, tenant_id, period.begins_at, period.ends_at)
            return _csv(f"costs-{_days(period)}.csv", _focus_lines(tenant_id, pages))
        entries = store.period(lend, accounts, tenant_id, period.begins_at, period.ends_at)
        if form == "csv":
            return _csv(f"statement-{_days(period)}.csv", _lines(opening, entries))
        told = _json(tenant_id, period, opening, entries)
        return StreamingResponse(told, headers=NOT_KEPT, media_type="application/json")


def _csv(name: str, lines: AsyncIterator[bytes]) -> StreamingResponse:
    headers = {
        **NOT_KEPT,
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")


def _days(period: Period) -> str:
    return f"{period.begins_at:%Y-%m-%d}-{period.ends_at:%Y-%m-%d}"


# -- entries -----------------------------------------------------------------------------------


async def _json(
    tenant_id: str,
    period: Period,
    opening: tuple[int, int],
    pages: AsyncIterator[list[store.Entry]],
) -> AsyncIterator[bytes]:
    about = {
        "tenant": tenant_id,
        "from": period.begins_at.isoformat(),
        "to": period.ends_at.isoformat(),
        "opening": _balance(*opening),
    }
    yield _encode(about)[:-1] + b',"entries":['
    available, held = opening
    totals: dict[str, int] = {}
    comma = b""
    async for page in pages:
        for one in page:
            available += one.available_microcredits
            held += one.held_microcredits
            totals[one.kind] = totals.get(one.kind, 0) + one.amount_microcredits
        yield comma + b",".join(_encode(entry_json(one)) for one in page)
        comma = b","
    end = {"closing": _balance(available, held), "totals_microcredits": totals}
    yield b"]," + _encode(end)[1:]


def _balance(available: int, held: int) -> dict[str, int]:
    return {"available_microcredits": available, "held_microcredits": held}


async def _lines(
    opening: tuple[int, int], pages: AsyncIterator[list[store.Entry]]
) -> AsyncIterator[bytes]:
    """Yield a table whose last columns but two are the balances behind each entry."""
    yield _table([HEAD])
    available, held = opening
    async for page in pages:
        rows = []
        for one in page:
            available += one.available_microcredits
            held += one.held_microcredits
            rows.append(_row(one, available, held))
        yield _table(rows)


def _row(one: store.Entry, available: int, held: int) -> list[str]:
    return [
        str(one.id),
        one.created_at.isoformat(),
        one.kind,
        "" if one.batch_id is None else show_batch_id(one.batch_id),
        "" if one.idx is None else str(one.idx + 1),
        *("" if number is None else str(number) for number in (one.round, one.attempt)),
        millionths(one.amount_microcredits),
        millionths(one.available_microcredits),
        millionths(one.held_microcredits),
        millionths(available),
        millionths(held),
        one.reason,
        one.reference or "",
    ]


# -- costs -------------------------------------------------------------------------------------


async def _focus_lines(tenant_id: str, pages: AsyncIterator[list[Charge]]) -> AsyncIterator[bytes]:
    yield _table([FOCUS])
    async for page in pages:
        yield _table([_focus(tenant_id, charge) for charge in page])


def _focus(tenant_id: str, charge: Charge) -> list[str]:
    """Return one charge; a cost that nobody knows is empty, never zero."""
    cost = "" if charge.cost_microusd is None else millionths(charge.cost_microusd)
    month = charge.day.replace(day=1)
    after = (month + timedelta(days=32)).replace(day=1)
    model = charge.lane.partition("/")[2] or charge.lane
    told = {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ContractedCost": cost,
        "BillingCurrency": "USD",
        "BillingAccountId": charge.provider,
        "SubAccountId": tenant_id,
        "BillingPeriodStart": _instant(month),
        "BillingPeriodEnd": _instant(after),
        "ChargePeriodStart": _instant(charge.day),
        "ChargePeriodEnd": _instant(charge.day + timedelta(days=1)),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{charge.calls} calls of {charge.lane}, cost {charge.basis}",
        "ProviderName": charge.provider,
        "PublisherName": charge.provider,
        "InvoiceIssuerName": charge.provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": charge.provider,
        "SkuId": model,
        "ResourceId": show_batch_id(charge.batch_id),
        "ConsumedQuantity": str(charge.calls),
        "ConsumedUnit": "Calls",
        "x_CostBasis": charge.basis,
    }
    return [told[name] for name in FOCUS]


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _table(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([safe_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode()
