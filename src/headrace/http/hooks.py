"""``/hooks``: providers say that a job has ended, so that it need not be asked after."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headrace.engine import Engine
from headrace.errors import NotFoundError
from headrace.http.bodies import read_bytes
from headrace.http.entry import UnknownKeyError

HOOK_BYTES_MAX = 4 * 1024 * 1024


class Hooks:
    """The routes of providers; a signature stands for a key."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/hooks")
        router.add_api_route("/{name}", self.hear, methods=["POST"])
        return router

    async def hear(self, request: Request, name: str) -> Response:
        """Take a webhook of the provider called ``name``: it only lets a job be looked at."""
        provider = self._engine.providers.get(name)
        hear = getattr(provider, "hear", None)
        if hear is None:
            raise NotFoundError(f"no webhooks are awaited for {name[:64]!r}")
        body = await read_bytes(request, HOOK_BYTES_MAX)
        heard = hear(request.headers, body)
        if heard is None:
            raise NotFoundError(f"no webhooks are awaited for {name[:64]!r}")
        if not heard:
            raise UnknownKeyError("the webhook is not signed by its provider, or too old")
        return Response(status_code=204)
