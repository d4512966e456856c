"""The two paths that pages ask for most, found first and called without a detour.

FastAPI tries a route after another and reads arguments by their annotations: about as much work as
the answer itself where that is one look at the database. The same functions are routes there too,
for the document, for other methods, and for arguments that are not as they should be.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

Give = Callable[[Request, str, int], Awaitable[Response]]

_ITEM = "/api/batches/{batch_id}/items/{row_number}"
# A number of ten digits is beyond every row, and no work to read.
_FOUND = re.compile(r"/api/batches/([^/]{1,64})/items/([0-9]{1,10})(/artifact)?", re.ASCII)
_PLAIN = re.compile(b"")
_SIGNED = re.compile(b"((expires|signature)=[^&]*(&|$))*")


class ShortWay(BaseRoute):
    """GET of an item, or of its artifact; without a query, but for a signed link's."""

    def __init__(self, give: Give, last: str | None) -> None:
        self.path = _ITEM + (last or "")
        self._give = give
        self._last = last

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether this is the way for a request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return Match.NONE, {}
        found = _FOUND.fullmatch(scope["path"])
        if (
            found is None
            or found[3] != self._last
            or not (_SIGNED if self._last else _PLAIN).fullmatch(scope["query_string"])
        ):
            return Match.NONE, {}
        told = {"batch_id": found[1], "row_number": int(found[2])}
        return Match.FULL, {"path_params": told, "route": self, "endpoint": self._give}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what is raised becomes an answer as everywhere in the app."""
        told = scope["path_params"]
        request = Request(scope, receive, send)
        answer = await self._give(request, told["batch_id"], told["row_number"])
        await answer(scope, receive, send)


def add_short_ways(app: FastAPI, item: Give, artifact: Give) -> None:
    """Have the app look for these two before all its routes."""
    app.router.routes[:0] = [ShortWay(artifact, "/artifact"), ShortWay(item, None)]
