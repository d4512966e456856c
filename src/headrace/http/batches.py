"""``/api/batches``: submitted, quoted, listed, steered; every batch belongs to the key's tenant."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import InputError, NotFoundError, UsageError
from headrace.estimate import estimate_rows
from headrace.http.bodies import only, read_json
from headrace.http.described import described, empty, says
from headrace.http.entry import Entry
from headrace.http.ownership import owned, page_size, plain, words_of
from headrace.http.page_cursor import read_cursor, show_cursor
from headrace.http.request_shapes import RETRY_BODY, SUBMIT_BODY, UPLOAD_QUERY
from headrace.http.shapes import BatchPage, BatchShape, QuoteShape, batch_json, batch_shape
from headrace.http.submitting import submission
from headrace.lifecycle import BatchState, ItemState
from headrace.outcome import OutcomeKind
from headrace.price import usd_exact
from headrace.store import listing
from headrace.store.listing import Wanted
from headrace.watching import ROWS_MAX, Batch

RETRY_BYTES_MAX = 1024 * 1024
RETRY_ROWS_MAX = 10_000
RETRIED = (ItemState.FAILED, ItemState.REFUSED, ItemState.DEAD, ItemState.UNKNOWN)
_RETRY = {"states": list, "rows": list, "outcomes": list, "stage": str, "provider": str}
_VERBS = ("pause", "resume", "cancel", "retry")


class Batches:
    """The routes of batches; whose a batch is, is looked at in each."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/batches", tags=["batches"])
        one = "/{batch_id}"
        made = described(
            body=SUBMIT_BODY,
            s201=says(BatchShape, "The batch."),
            s200=says(BatchShape, "The batch that the same Idempotency-Key made before."),
        )
        made["openapi_extra"]["parameters"] = UPLOAD_QUERY
        router.add_api_route("", self.submit, methods=["POST"], **made)
        quoted = described(body=SUBMIT_BODY, s200=says(QuoteShape, "What it would be, at most."))
        quoted["openapi_extra"]["parameters"] = UPLOAD_QUERY
        router.add_api_route("/estimate", self.estimate, methods=["POST"], **quoted)
        page = described(s200=says(BatchPage, "A page of batches."))
        router.add_api_route("", self.listed, methods=["GET"], **page)
        shown = described(s200=says(BatchShape, "The batch."), s304=empty("As it was."))
        router.add_api_route(one, self.show, methods=["GET"], **shown)
        moved = described(s200=says(BatchShape, "The batch as it stands now."))
        retried = described(
            body=RETRY_BODY, body_required=False, s200=says(BatchShape, "The batch.")
        )
        router.add_api_route(f"{one}/retry", self.retry, methods=["POST"], **retried)
        router.add_api_route(f"{one}/pause", self.pause, methods=["POST"], **moved)
        router.add_api_route(f"{one}/resume", self.resume, methods=["POST"], **moved)
        router.add_api_route(f"{one}/cancel", self.cancel, methods=["POST"], **moved)
        other = f"{one}/{{action}}"
        router.add_api_route(other, self.no_such, methods=["POST"], include_in_schema=False)
        return router

    async def submit(self, request: Request) -> JSONResponse:
        """Submit rows under a recipe: all or nothing.

        Rows come in JSON, or as a CSV or JSON Lines file: as the body itself with the settings
        in the query, or as the part `file` of a form with a part for each setting.
        """
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        async with submission(self._engine, request, caller) as wanted:
            batch = await self._engine.submit(
                wanted.rows,
                wanted.recipe,
                columns=wanted.columns,
                terms=wanted.terms,
                digest=wanted.digest,
            )
        told = batch_json(await batch.summary())
        location = {"Location": f"/api/batches/{batch.id}"}
        return JSONResponse(told, 201 if batch.is_new else 200, location)

    async def estimate(self, request: Request) -> JSONResponse:
        """Say what a submit would cost at most, and how long it would take; buys nothing."""
        caller = await self._entry.let_in(request, Scope.READ)
        async with submission(self._engine, request, caller) as wanted:
            quote = await estimate_rows(
                self._engine,
                wanted.as_rows(),
                wanted.recipe,
                wanted.columns,
                tenant_id=caller.tenant_id,
            )
        told = quote.to_json()
        most = told.pop("cost_microusd_max")
        return JSONResponse(told | {"cost_usd_max": None if most is None else usd_exact(most)})

    async def listed(
        self,
        request: Request,
        limit: int = 20,
        cursor: str | None = None,
        state: str | None = None,
        name: str | None = None,
        recipe: str | None = None,
    ) -> JSONResponse:
        """List batches, the latest first: of some states (with commas), of a part of a name."""
        caller = await self._entry.let_in(request, Scope.READ)
        wanted = Wanted(
            caller.tenant_id,
            None if cursor is None else read_cursor(cursor),
            words_of(state, BatchState, "a state of batches"),
            plain(name, "name"),
            plain(recipe, "recipe"),
        )
        count = page_size(limit)
        async with self._engine.database.acquire() as connection:
            found = await listing.batches(connection, wanted, count + 1)
        page, next_ = found[:count], None
        if len(found) > count:
            next_ = show_cursor(page[-1].created_at, page[-1].id)
        told = BatchPage([batch_shape(one) for one in page], next_)
        return JSONResponse(msgspec.to_builtins(told))

    async def show(self, request: Request, batch_id: str) -> Response:
        """Show a batch with its counts; `If-None-Match` with its ETag gives 304 until it moves."""
        _, _, summary = await self._owned(request, batch_id, Scope.READ)
        body = msgspec.json.encode(batch_shape(summary))
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    async def retry(self, request: Request, batch_id: str) -> JSONResponse:
        """Try items once more: all that did not succeed, or those that a body chooses."""
        _, batch, _ = await self._owned(request, batch_id, Scope.SUBMIT)
        body = await read_json(request, RETRY_BYTES_MAX, empty={})
        only(body, _RETRY)
        await batch.retry(
            _states(body.get("states")),
            row_numbers=_row_numbers(body.get("rows")),
            outcomes=_outcomes(body.get("outcomes")),
            stage=body.get("stage"),
            provider=plain(body.get("provider"), "provider"),
        )
        return await _as_it_stands(batch)

    async def pause(self, request: Request, batch_id: str) -> JSONResponse:
        """Let nothing more of a batch start; what is in flight finishes."""
        _, batch, _ = await self._owned(request, batch_id, Scope.SUBMIT)
        await batch.pause()
        return await _as_it_stands(batch)

    async def resume(self, request: Request, batch_id: str) -> JSONResponse:
        """Let a paused batch go on."""
        _, batch, _ = await self._owned(request, batch_id, Scope.SUBMIT)
        await batch.resume()
        return await _as_it_stands(batch)

    async def cancel(self, request: Request, batch_id: str) -> JSONResponse:
        """Cancel a batch: nothing more starts, and what has not started is not charged."""
        _, batch, _ = await self._owned(request, batch_id, Scope.SUBMIT)
        await batch.cancel()
        return await _as_it_stands(batch)

    async def no_such(self, request: Request, batch_id: str, action: str) -> None:
        """Say that there is no such verb."""
        await self._owned(request, batch_id, Scope.SUBMIT)
        raise NotFoundError(
            f"a batch cannot {action[:40]!r}", remedy=f"It can: {', '.join(_VERBS)}."
        )

    async def _owned(self, request: Request, batch_id: str, scope: Scope) -> Any:
        return await owned(self._engine, self._entry, request, batch_id, scope)


async def _as_it_stands(batch: Batch) -> JSONResponse:
    return JSONResponse(batch_json(await batch.summary()))


def _states(told: list[Any] | None) -> set[ItemState]:
    if told is None:
        return set(RETRIED)
    known = [state.value for state in RETRIED]
    if not told or not all(isinstance(word, str) and word in known for word in told):
        raise UsageError("states cannot be retried", remedy=f"Use some of: {', '.join(known)}.")
    return {ItemState(word) for word in told}


def _outcomes(told: list[Any] | None) -> list[str] | None:
    known = [kind.value for kind in OutcomeKind]
    if told is not None and (not told or not all(word in known for word in told)):
        raise UsageError("not outcomes", remedy=f"Use some of: {', '.join(known)}.")
    return told


def _row_numbers(told: list[Any] | None) -> list[int] | None:
    if told is None:
        return None
    good = all(type(one) is int and 1 <= one <= ROWS_MAX for one in told)
    if not told or not good or len(told) > RETRY_ROWS_MAX:
        raise InputError(
            f"rows must be 1 to {RETRY_ROWS_MAX:,} row numbers", remedy="They count from 1."
        )
    return told
