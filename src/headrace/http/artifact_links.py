"""Addresses of artifacts that need no key: signed, and good for a while."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from headrace.artifact import Artifact
from headrace.clock import Clock
from headrace.engine import Engine
from headrace.errors import NotFoundError
from headrace.http.entry import UnknownKeyError
from headrace.http.item_links import ItemLinks
from headrace.store.database import Database

LASTS_S = 3600


class Links:
    """Signs addresses of artifacts by their content, good for an hour."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._signed = ItemLinks(database, clock)

    async def signed_path(self, artifact: Artifact) -> str:
        """Return the path under which an artifact is served."""
        return await self._signed.sign(
            _path(f"{artifact.sha256.hex()}.{artifact.extension}"), LASTS_S
        )

    async def check(self, request: Request, name: str) -> None:
        """Raise ``NotFoundError`` unless the request's address was signed, and is still good."""
        try:
            await self._signed.check(request, _path(name))
        except UnknownKeyError:
            raise NotFoundError(
                "there is nothing at this address",
                remedy="It may have expired: ask again for another.",
            ) from None


def _path(name: str) -> str:
    return f"/artifacts/{name}"


class LinkRoutes:
    """The route of signed addresses."""

    def __init__(self, engine: Engine, links: Links) -> None:
        self._engine = engine
        self._links = links

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/artifacts/{name}", self.show, methods=["GET"])
        return router

    async def show(self, request: Request, name: str) -> Response:
        """Return an artifact's bytes to whoever has its address."""
        await self._links.check(request, name)
        sha256 = bytes.fromhex(name.partition(".")[0])
        found = await self._engine.reading.artifact(sha256)
        headers = {
            "Cache-Control": "private, max-age=3600, immutable",
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        if found.body is not None:
            return Response(found.body, headers=headers, media_type=found.media_type)
        headers["Content-Length"] = str(found.size_bytes)
        pieces = self._engine.blobs.pieces(sha256)
        return StreamingResponse(pieces, headers=headers, media_type=found.media_type)
