"""The bytes of artifacts: whole or in part, by a key or a signed link, or from the store itself."""

from __future__ import annotations

import re
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from headrace.artifact import Artifact
from headrace.byte_range import UnsatisfiableError, byte_range
from headrace.engine import Engine
from headrace.errors import NotFoundError
from headrace.http.described import described, empty, gives
from headrace.http.entry import Entry
from headrace.http.item_links import ItemLinks, is_signed
from headrace.http.ownership import owned_item, there
from headrace.http.problems import RangeError
from headrace.http.redirecting import INLINE, bare, redirected
from headrace.http.shapes import artifact_path
from headrace.marking import STAGE as PLAN_MARK
from headrace.outgoing import Outgoing, OutgoingFiles
from headrace.watching import Batch, ItemResult

FOREVER_S = 365 * 24 * 3600
WHOLE_BYTES_MAX = 1 << 20
"""What is no longer goes out in one piece; the rest is passed on as it is read."""

_MARKED = ("image/", "video/")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(; ?charset=[\w-]{1,32})?", re.ASCII)


class Artifacts:
    """The routes of artifacts."""

    def __init__(
        self, engine: Engine, entry: Entry, links: ItemLinks, outgoing: OutgoingFiles
    ) -> None:
        self._engine = engine
        self._entry = entry
        self._links = links
        self._outgoing = outgoing

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/batches/{batch_id}/items/{row_number}", tags=["items"])
        told = described(
            s200=gives("The bytes.", "*/*"),
            s206=gives("Some of the bytes.", "*/*"),
            s302=empty("They are at the object storage."),
            s304=empty("They never change."),
        )
        router.add_api_route("/artifact", self.last, methods=["GET"], **told)
        router.add_api_route("/outputs/{output}", self.named, methods=["GET"], **told)
        for path, route in (("/artifact", self.last), ("/outputs/{output}", self.named)):
            router.add_api_route(path, route, methods=["HEAD"], include_in_schema=False)
        return router

    async def last(
        self, request: Request, batch_id: str, row_number: int, as_kept: bool = False
    ) -> Response:
        """Return an item's artifact as a file; `Range` asks for some of it.

        What a model made says so in its metadata. With `as_kept` it is the bytes whose
        SHA-256 the item tells. With `expires` and `signature`, as a signed link has them,
        it needs no key.
        """
        return await self._give(request, batch_id, row_number, None, as_kept)

    async def named(
        self,
        request: Request,
        batch_id: str,
        row_number: int,
        output: str,
        as_kept: bool = False,
    ) -> Response:
        """Return what one stage of an item made, as a file."""
        return await self._give(request, batch_id, row_number, output, as_kept)

    async def _give(
        self, request: Request, batch_id: str, row_number: int, output: str | None, as_kept: bool
    ) -> Response:
        lasts_s = None
        if is_signed(request):
            batch = self._engine.batch(batch_id)
            lasts_s = await self._links.check(request, artifact_path(batch, row_number, output))
            item = there((await batch.owned_item(row_number))[1], row_number)
        else:
            batch, item = await owned_item(self._engine, self._entry, request, batch_id, row_number)
        artifact, name = await _artifact(batch, item, output)
        moved = await redirected(self._engine, artifact, lasts_s)
        # A redirect is to the bytes as they are kept, so their name is what may be known already.
        plain = as_kept or moved is not None
        outgoing = await self._outgoing.ready(artifact, as_kept=plain)
        headers = _headers(outgoing, name, lasts_s)
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return moved or await self._body(request, outgoing, headers)

    async def _body(
        self, request: Request, outgoing: Outgoing, headers: dict[str, str]
    ) -> Response:
        size = outgoing.size_bytes
        wanted = request.headers.get("range")
        if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
            wanted = None
        try:
            span = byte_range(wanted, size)
        except UnsatisfiableError:
            raise RangeError(size) from None
        begin, end = span or (0, size)
        headers["Content-Length"] = str(end - begin)
        if span is not None:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        status, media_type = 200 if span is None else 206, _media_type(outgoing.artifact)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=media_type)
        if 0 < end - begin <= WHOLE_BYTES_MAX:
            body = await self._outgoing.part(outgoing, begin, end)
            return Response(body, status, headers, media_type)
        pieces = await self._outgoing.begun(outgoing, span)
        return StreamingResponse(pieces, status, headers, media_type)


async def _artifact(batch: Batch, item: ItemResult, output: str | None) -> tuple[Artifact, str]:
    """Return an artifact and the stem of its name; raises ``NotFoundError``."""
    row_number = item.row_number
    found = item.artifact if output is None else item.outputs.get(output)
    if found is None:
        what = "artifact" if output is None else f"output {output[:64]!r}"
        raise NotFoundError(f"row {row_number} has no {what}")
    if found != item.artifact and found.media_type.startswith(_MARKED):
        await _check_mark(batch, row_number)
    stem = item.file or f"{row_number:06d}"
    return found, stem if output is None else f"{stem} {output}"


async def _check_mark(batch: Batch, row_number: int) -> None:
    """Raise ``NotFoundError`` where a plan puts its mark on pictures: none goes out without."""
    if PLAN_MARK in await batch.stage_names():
        raise NotFoundError(
            f"row {row_number} hands out no picture without the mark of its tenant's plan",
            remedy="Ask for its artifact.",
        )


def _headers(outgoing: Outgoing, stem: str, lasts_s: int | None) -> dict[str, str]:
    artifact = outgoing.artifact
    whose, age_s = ("private", FOREVER_S) if lasts_s is None else ("public", lasts_s)
    shown = "inline" if bare(artifact) in INLINE else "attachment"
    return {
        "ETag": f'"{outgoing.name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": f"{whose}, max-age={age_s}, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": disposition(shown, f"{stem}.{artifact.extension}"),
    }


def disposition(shown: str, name: str) -> str:
    """Return a Content-Disposition whose file name cannot leave its quotes, or the header."""
    safe = "".join(c if c.isprintable() and c not in '/\\"' else "_" for c in name)[:200]
    ascii_name = safe.encode("ascii", "replace").decode().replace("?", "_")
    extended = quote(safe.encode("utf-8", "replace"), safe="")
    return f"{shown}; filename=\"{ascii_name}\"; filename*=UTF-8''{extended}"


def _media_type(artifact: Artifact) -> str:
    """Return an artifact's media type, as far as it can be one."""
    told = artifact.media_type
    return told if _MEDIA_TYPE.fullmatch(told) else "application/octet-stream"
