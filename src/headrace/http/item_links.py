"""Makes and checks signed links, with the secret that all processes on the database share."""

from __future__ import annotations

import secrets

from starlette.requests import HTTPConnection

from headrace.clock import Clock
from headrace.http.entry import UnknownKeyError
from headrace.signed_links import lasts_s, seconds_left, signed
from headrace.store import statements
from headrace.store.database import Database

_NOTE = "item_links"


class ItemLinks:
    """The signed links to the artifacts of items."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._secret: bytes | None = None

    async def sign(self, path: str, asked_s: int) -> str:
        """Return a link to ``path`` that lasts so many seconds, within bounds."""
        expires = int(self._clock.now().timestamp()) + lasts_s(asked_s)
        return signed(await self._own(), path, expires)

    async def check(self, request: HTTPConnection, path: str) -> int:
        """Return how many seconds the link is good for that a request came by.

        Raises ``UnknownKeyError`` for one that is not good.
        """
        told, now_s = request.query_params, self._clock.now().timestamp()
        expires, signature = told.get("expires", ""), told.get("signature", "")
        left_s = seconds_left(await self._own(), path, expires, signature, now_s)
        if not left_s or request.scope.get("method") != "GET":
            raise UnknownKeyError(
                "the link is not good, or its time is over",
                remedy="Ask for a new one: items?links_s=3600.",
            )
        return left_s

    async def _own(self) -> bytes:
        if self._secret is None:
            async with self._database.transaction() as connection:
                told = await connection.fetchval(
                    statements.load("schema/first_note.sql"), _NOTE, secrets.token_hex(32)
                )
            self._secret = bytes.fromhex(told)
        return self._secret


def is_signed(request: HTTPConnection) -> bool:
    """Tell whether a request comes by a signed link, not by a key."""
    return "signature" in request.query_params
