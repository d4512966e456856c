"""An answer that did not come over a connection of its own: a line of a provider batch."""

from __future__ import annotations

from typing import cast

import aiohttp
from multidict import CIMultiDict


class _Content:
    """The part of a stream reader that adapters use, over bytes that are there."""

    def __init__(self, body: bytes) -> None:
        self._left = memoryview(body)

    async def read(self, most: int = -1) -> bytes:
        """Return the next bytes, empty at the end."""
        size = len(self._left) if most < 0 else most
        piece, self._left = bytes(self._left[:size]), self._left[size:]
        return piece

    async def readany(self) -> bytes:
        """Return what is left."""
        return await self.read()

    def at_eof(self) -> bool:
        """Tell whether all was read."""
        return not self._left


class _Heard:
    """What adapters look at in a response."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.ok = 200 <= status < 400
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.content_type = "application/json"
        self.content = _Content(body)


def heard(status: int, body: bytes) -> aiohttp.ClientResponse:
    """Return an answer as adapters take one; it has no headers and no connection."""
    # Adapters read status, headers and content alone; aiohttp has no such type by itself.
    return cast(aiohttp.ClientResponse, _Heard(status, body))
