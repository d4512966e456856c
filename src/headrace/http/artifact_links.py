"""Addresses of artifacts that need no key: signed, and good for a while."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from headrace.artifact import Artifact
from headrace.clock import Clock
from headrace.engine import Engine
from headrace.errors import NotFoundError
from headrace.http.entry import UnknownKeyError
from headrace.http.item_links import ItemLinks
from headrace.http.redirecting import redirected
from headrace.imprinting import origin_to_tell
from headrace.outgoing import OutgoingFiles
from headrace.provenance import Origin, packed, unpacked
from headrace.store.database import Database

LASTS_S = 3600


class Links:
    """Signs addresses of artifacts by their content, good for an hour."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._signed = ItemLinks(database, clock)

    async def signed_path(self, artifact: Artifact) -> str:
        """Return the path under which an artifact is served.

        Where its file has to tell an origin, the path holds that: the same bytes may have
        come from somewhere else, too.
        """
        name = f"{artifact.sha256.hex()}.{artifact.extension}"
        origin = origin_to_tell(artifact)
        if origin is not None:
            name = f"{packed(origin)}/{name}"
        return await self._signed.sign(_path(name), LASTS_S)

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

    def __init__(self, engine: Engine, links: Links, outgoing: OutgoingFiles) -> None:
        self._engine = engine
        self._links = links
        self._outgoing = outgoing

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/artifacts/{name}", self.show, methods=["GET"])
        router.add_api_route("/artifacts/{origin}/{name}", self.show_origin, methods=["GET"])
        return router

    async def show(self, request: Request, name: str) -> Response:
        """Return an artifact's bytes to whoever has its address."""
        await self._links.check(request, name)
        return await self._give(name, None)

    async def show_origin(self, request: Request, origin: str, name: str) -> Response:
        """Return an artifact as a file that tells its origin."""
        await self._links.check(request, f"{origin}/{name}")
        return await self._give(name, unpacked(origin))

    async def _give(self, name: str, origin: Origin | None) -> Response:
        found = await self._engine.reading.artifact(bytes.fromhex(name.partition(".")[0]))
        moved = await redirected(self._engine, found, LASTS_S)
        if moved is not None:
            return moved
        outgoing = await self._outgoing.ready(replace(found, origin=origin))
        headers = {
            "Cache-Control": "private, max-age=3600, immutable",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(outgoing.size_bytes),
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        pieces = await self._outgoing.begun(outgoing)
        return StreamingResponse(pieces, headers=headers, media_type=found.media_type)
