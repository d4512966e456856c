"""Addresses of artifacts that need no key: signed, and good for a while."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from headrace.artifact import Artifact
from headrace.clock import Clock
from headrace.engine import Engine
from headrace.errors import NotFoundError
from headrace.store import statements
from headrace.store.database import Database

LASTS_S = 3600
_NOTE = "artifact_links"


class Links:
    """Signs addresses with a secret that all processes on the database share."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._secret = b""

    async def signed_path(self, artifact: Artifact) -> str:
        """Return the path under which an artifact is served for an hour."""
        until = int(self._clock.now().timestamp()) + LASTS_S
        name = f"{artifact.sha256.hex()}.{artifact.extension}"
        signature = await self._signature(name, until)
        return f"/artifacts/{name}?expires={until}&signature={signature}"

    async def is_good(self, name: str, until: int, signature: str) -> bool:
        """Tell whether an address was signed here, and its time is not over."""
        good = hmac.compare_digest(
            (await self._signature(name, until)).encode(), signature.encode("utf-8", "replace")
        )
        return good and self._clock.now().timestamp() < until

    async def _signature(self, name: str, until: int) -> str:
        if not self._secret:
            async with self._database.transaction() as connection:
                told = await connection.fetchval(
                    statements.load("schema/first_note.sql"), _NOTE, secrets.token_hex(32)
                )
            self._secret = bytes.fromhex(told)
        return hmac.new(self._secret, f"{name} {until}".encode(), hashlib.sha256).hexdigest()


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

    async def show(self, name: str, expires: int = 0, signature: str = "") -> Response:
        """Return an artifact's bytes to whoever has its address."""
        if not await self._links.is_good(name, expires, signature):
            raise NotFoundError(
                "there is nothing at this address",
                remedy="It may have expired: ask again for another.",
            )
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
