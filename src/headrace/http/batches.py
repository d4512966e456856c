"""``/api/batches``: submitted, watched, steered; every batch belongs to the key's tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headrace.access import Scope
from headrace.artifact import Artifact
from headrace.engine import Engine
from headrace.errors import InputError, NotFoundError
from headrace.fingerprint import canonical_json
from headrace.http.bodies import only, read_json
from headrace.http.entry import Caller, Entry
from headrace.http.live import events
from headrace.http.shapes import batch_json, item_json
from headrace.lifecycle import ItemState
from headrace.price import read_usd
from headrace.store.batches import Summary
from headrace.submission import Terms, request_digest
from headrace.watching import Batch

PAGE_MAX = 500
ROWS_MAX = 2**31 - 2
KEY_CHARS_MAX = 255
_SUBMIT = {
    "recipe": str,
    "rows": list,
    "name": str,
    "class": str,
    "cache": str,
    "unknown": str,
    "strict": bool,
    "canary": int,
    "look_first": bool,
    "max_cost_usd": (int, float, str),
}
_RETRIED = (ItemState.FAILED, ItemState.REFUSED, ItemState.DEAD, ItemState.UNKNOWN)


class Batches:
    """The routes of batches; whose a batch is, is looked at in each."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/batches")
        one = "/{batch_id}"
        router.add_api_route("", self.submit, methods=["POST"])
        router.add_api_route("", self.recent, methods=["GET"])
        router.add_api_route(one, self.show, methods=["GET"])
        router.add_api_route(f"{one}/items", self.items, methods=["GET"])
        path = f"{one}/items/{{row_number}}/artifact"
        router.add_api_route(path, self.artifact, methods=["GET"])
        router.add_api_route(f"{one}/events", self.live, methods=["GET"])
        router.add_api_route(f"{one}/{{action}}", self.steer, methods=["POST"])
        return router

    async def _owned(self, request: Request, batch_id: str, scope: Scope) -> tuple[Batch, Summary]:
        """Return the caller's batch; another tenant's is not there."""
        caller = await self._entry.let_in(request, scope)
        batch = self._engine.batch(batch_id)
        summary = await batch.summary()
        if summary.tenant_id != caller.tenant_id:
            # As for a batch that there is not, so that nobody learns of it.
            raise NotFoundError(f"there is no batch {batch.id}")
        return batch, summary

    async def submit(self, request: Request) -> JSONResponse:
        """Submit rows under a recipe: all or nothing."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request)
        key = request.headers.get("idempotency-key")
        batch = await _submit(self._engine, caller, body, key)
        told = batch_json(await batch.summary())
        location = {"Location": f"/api/batches/{batch.id}"}
        return JSONResponse(told, 201 if batch.is_new else 200, location)

    async def recent(self, request: Request, limit: int = 20) -> JSONResponse:
        """List the tenant's batches, the latest first."""
        caller = await self._entry.let_in(request, Scope.READ)
        found = await self._engine.recent(_page(limit), caller.tenant_id)
        return JSONResponse({"batches": [batch_json(one) for one in found]})

    async def show(self, request: Request, batch_id: str) -> JSONResponse:
        """Show a batch with its counts."""
        _, summary = await self._owned(request, batch_id, Scope.READ)
        return JSONResponse(batch_json(summary))

    async def items(
        self, request: Request, batch_id: str, after: int = 0, limit: int = 100
    ) -> JSONResponse:
        """List the items behind row ``after``; ``next`` is the ``after`` of the next page."""
        batch, _ = await self._owned(request, batch_id, Scope.READ)
        found: list[dict[str, Any]] = []
        async for item in batch.items(min(max(0, after), ROWS_MAX) - 1):
            found.append(item_json(batch, item))
            if len(found) >= _page(limit):
                break
        next_ = found[-1]["row_number"] if len(found) == _page(limit) else None
        return JSONResponse({"items": found, "next": next_})

    async def artifact(self, request: Request, batch_id: str, row_number: int) -> Response:
        """Return the bytes of a row's artifact."""
        batch, _ = await self._owned(request, batch_id, Scope.READ)
        async for item in batch.items(min(max(1, row_number), ROWS_MAX) - 2):
            if item.row_number == row_number and item.artifact is not None:
                return await _artifact(self._engine, request, item.artifact)
            break
        raise NotFoundError(f"row {row_number} has no artifact")

    async def live(self, request: Request, batch_id: str) -> StreamingResponse:
        """Stream the batch's events; ``Last-Event-ID`` goes on behind that one."""
        batch, _ = await self._owned(request, batch_id, Scope.READ)
        told = request.headers.get("last-event-id", "0")
        after = int(told) if told.isdecimal() and len(told) < 19 else 0
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events(batch, after), headers=headers, media_type=_STREAM)

    async def steer(self, request: Request, batch_id: str, action: str) -> JSONResponse:
        """Pause, resume, cancel, or retry what did not succeed."""
        batch, _ = await self._owned(request, batch_id, Scope.SUBMIT)
        if action == "retry":
            await batch.retry(set(_RETRIED))
        elif action == "pause":
            await batch.pause()
        elif action == "resume":
            await batch.resume()
        elif action == "cancel":
            await batch.cancel()
        else:
            raise NotFoundError(f"a batch cannot {action[:40]!r}")
        return JSONResponse(batch_json(await batch.summary()))


def _page(limit: int) -> int:
    return max(1, min(limit, PAGE_MAX))


_STREAM = "text/event-stream"


async def _submit(engine: Engine, caller: Caller, body: dict[str, Any], key: str | None) -> Batch:
    only(body, _SUBMIT)
    recipe, rows = body.get("recipe"), body.get("rows")
    if not recipe or recipe.endswith(".toml") or "/" in recipe:
        raise InputError("recipe must be the name of one", remedy="headrace recipes lists them.")
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError("rows must be a list of objects, one or more")
    if key is not None and not 0 < len(key) <= KEY_CHARS_MAX:
        raise InputError(f"an Idempotency-Key has 1 to {KEY_CHARS_MAX} characters")
    cap = body.get("max_cost_usd")
    terms = Terms(
        name=body.get("name"),
        tenant_id=caller.tenant_id,
        class_name=body.get("class", "batch"),
        cache=body.get("cache", "reuse"),
        unknown=body.get("unknown", "retry"),
        strict=body.get("strict", False),
        canary=body.get("canary"),
        look_first=body.get("look_first", False),
        cost_cap_microusd=None if cap is None else read_usd(str(cap)),
        idempotency_key=key,
        source={"input": "api"},
    )
    found = engine.recipe(recipe)
    digest = None
    if key is not None:
        told = {k: v for k, v in body.items() if k not in ("recipe", "rows")}
        digest = request_digest(found, terms, canonical_json([told, rows]).hex())
    return await engine.submit(rows, found, terms=terms, digest=digest)


async def _artifact(engine: Engine, request: Request, artifact: Artifact) -> Response:
    """Return an artifact: immutable, so that whoever has it need not ask again."""
    etag = f'"{artifact.sha256.hex()}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    small = await engine.reading.small(artifact.sha256)
    if small is not None:
        return Response(small, headers=headers, media_type=artifact.media_type)

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in engine.blobs.pieces(artifact.sha256):
            yield piece

    headers["Content-Length"] = str(artifact.size_bytes)
    return StreamingResponse(pieces(), headers=headers, media_type=artifact.media_type)
