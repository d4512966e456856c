"""``/v1/batches``, as OpenAI's clients speak it: a file of requests becomes a batch of items."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import InputError
from headrace.files import show_file_id
from headrace.handout import PREFIX
from headrace.held import decode_json
from headrace.http.answer_keys import AnswerKeys, key_of
from headrace.http.bodies import only, read_json
from headrace.http.entry import Entry
from headrace.http.files import expiry_s, list_json
from headrace.identity import show_id
from headrace.lifecycle import BATCH_FINAL
from headrace.openai_body import ENDPOINTS
from headrace.store.file_batches import FileBatch

BODY_BYTES_MAX = 256 * 1024
PAGE_MAX = 100
PAGE_USUAL = 20
WINDOW = "24h"
PAIRS_MAX = 16
NAME_CHARS_MAX = 64
VALUE_CHARS_MAX = 512
_KNOWN = {
    "input_file_id": str,
    "endpoint": str,
    "completion_window": str,
    "metadata": (dict, type(None)),
    "output_expires_after": (dict, type(None)),
}


class FileBatchRoutes:
    """The routes of batches out of files; a tenant sees its own only."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._batches = engine.file_batches
        self._entry = entry
        self._keys = AnswerKeys(engine.database, engine.clock)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/v1/batches")
        router.add_api_route("", self.create, methods=["POST"])
        router.add_api_route("", self.listed, methods=["GET"])
        router.add_api_route("/{batch_id}", self.show, methods=["GET"])
        router.add_api_route("/{batch_id}/cancel", self.cancel, methods=["POST"])
        return router

    async def create(self, request: Request) -> JSONResponse:
        """Ask for a batch out of a file."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request, BODY_BYTES_MAX)
        only(body, _KNOWN)
        _check(body)
        key = key_of(request)
        found = await self._batches.create(
            caller.tenant_id,
            caller.key.id,
            body["input_file_id"],
            body["endpoint"],
            metadata=_metadata(body.get("metadata")),
            outputs_end_after_s=expiry_s(body.get("output_expires_after")),
            idempotency_key=key,
            is_retry=_is_retry(request),
        )
        return JSONResponse(file_batch_json(found))

    async def listed(
        self, request: Request, after: str | None = None, limit: int = PAGE_USUAL
    ) -> JSONResponse:
        """List batches, the latest first."""
        caller = await self._entry.let_in(request, Scope.READ)
        count = max(1, min(limit, PAGE_MAX))
        found = await self._batches.listed(caller.tenant_id, after, count + 1)
        return JSONResponse(list_json([file_batch_json(one) for one in found], count))

    async def show(self, request: Request, batch_id: str) -> JSONResponse:
        """Show a batch."""
        caller = await self._entry.let_in(request, Scope.READ)
        return JSONResponse(file_batch_json(await self._batches.find(caller.tenant_id, batch_id)))

    async def cancel(self, request: Request, batch_id: str) -> JSONResponse:
        """Cancel a batch."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)

        async def work(key_id: UUID | None, digest: bytes | None) -> dict[str, Any]:
            return file_batch_json(await self._batches.cancel(caller.tenant_id, batch_id))

        asked = ["cancel", batch_id]
        told = await self._keys.answered(caller.tenant_id, key_of(request), asked, work)
        return JSONResponse(told)


def _is_retry(request: Request) -> bool:
    """Tell whether a client says that it asks again because it saw no answer."""
    told = request.headers.get("x-stainless-retry-count", "")
    return told.isascii() and told.isdecimal() and int(told[:9]) > 0


def _check(body: dict[str, Any]) -> None:
    for name in ("input_file_id", "endpoint", "completion_window"):
        if name not in body:
            raise InputError(f"{name} is missing")
    if body["endpoint"] not in ENDPOINTS:
        raise InputError(
            f"endpoint = {body['endpoint'][:80]!r} is not known",
            remedy=f"Known: {', '.join(ENDPOINTS)}.",
        )
    if body["completion_window"] != WINDOW:
        raise InputError(f'completion_window must be "{WINDOW}"')


def _metadata(told: dict[str, Any] | None) -> dict[str, str] | None:
    if told is None:
        return None
    if len(told) > PAIRS_MAX:
        raise InputError(f"metadata has more than {PAIRS_MAX} pairs")
    for name, value in told.items():
        if not 0 < len(name) <= NAME_CHARS_MAX or "\0" in name:
            raise InputError(f"a key of metadata has 1 to {NAME_CHARS_MAX} characters")
        if not isinstance(value, str) or len(value) > VALUE_CHARS_MAX or "\0" in value:
            raise InputError(
                f"metadata {name!r} must be a text of {VALUE_CHARS_MAX} characters at most"
            )
    return told


def status_of(found: FileBatch) -> str:
    """Return which of the eight statuses a batch has."""
    if found.state == "expiring":
        return "finalizing"
    if found.state == "in_progress":
        if found.batch_state in {state.value for state in BATCH_FINAL}:
            return "finalizing"
        return "cancelling" if found.batch_state == "finalizing" else "in_progress"
    return found.state


def file_batch_json(found: FileBatch) -> dict[str, Any]:
    """Return a batch as OpenAI's API tells of it; times in seconds since 1970."""
    ended = {found.state: _seconds(found.ended_at)}
    errors = None
    if found.errors is not None:
        errors = {"object": "list", "data": decode_json(found.errors)}
    return {
        "id": show_id(PREFIX, found.id),
        "object": "batch",
        "endpoint": found.endpoint,
        "errors": errors,
        "input_file_id": show_file_id(found.input_file_id),
        "completion_window": WINDOW,
        "status": status_of(found),
        "output_file_id": found.output_file_id and show_file_id(found.output_file_id),
        "error_file_id": found.error_file_id and show_file_id(found.error_file_id),
        "created_at": _seconds(found.created_at),
        "in_progress_at": _seconds(found.in_progress_at),
        "expires_at": _seconds(found.expires_at),
        "finalizing_at": _seconds(found.expiring_at or found.finished_at),
        "completed_at": ended.get("completed"),
        "failed_at": ended.get("failed"),
        "expired_at": ended.get("expired"),
        "cancelling_at": _seconds(found.cancelling_at),
        "cancelled_at": ended.get("cancelled"),
        "request_counts": {
            "total": found.total,
            "completed": found.succeeded,
            "failed": found.failed,
        },
        "metadata": None if found.metadata is None else decode_json(found.metadata),
    }


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
