"""Receives the bytes of one result: looked at, bounded, held while few, else spooled to disk."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import unquote_to_bytes

import aiohttp

from headrace.artifact import Artifact
from headrace.errors import StorageError
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, Reply, Spool
from headrace.providers.remote.http_calls import PIECE_BYTES, HttpCalls, read_error
from headrace.providers.remote.media import (
    FILMS,
    HEAD_BYTES,
    IMAGES,
    SOUNDS,
    SVG,
    TAIL_BYTES,
    is_cut_off,
    media_type_of,
)

HELD_BYTES_MAX = 64 * 1024
"""Smaller results are returned in memory; a larger one goes through the spool in pieces."""

IMAGE_BYTES_MAX = 64 * 1024 * 1024
FILM_BYTES_MAX = 2 * 1024 * 1024 * 1024
FETCH_TRIES = 4
_GONE = (401, 403, 404, 410)


class Receiver:
    """The bytes of one result on their way; what is none of the ``wanted`` kinds is no result.

    Use it as ``async with receiving(call) as receiver``, so that an unfinished file goes.
    """

    def __init__(self, call: Call, stack: AsyncExitStack, wanted: frozenset[str] = IMAGES) -> None:
        self._call = call
        self._stack = stack
        self._wanted = wanted
        self._held = bytearray()
        self._head = b""
        self._tail = b""
        self._spool: Spool | None = None
        self.size_bytes = 0
        self.media_type = ""

    async def add(self, piece: bytes) -> None:
        """Take the next bytes; raises ``CallFailed`` (no_output, lost_result)."""
        self.size_bytes += len(piece)
        self._tail = (self._tail + piece[-TAIL_BYTES:])[-TAIL_BYTES:]
        if not self.media_type:
            self._head += piece[: HEAD_BYTES - len(self._head)]
            if len(self._head) >= HEAD_BYTES:
                self._know()
        most = FILM_BYTES_MAX if self.media_type in FILMS else IMAGE_BYTES_MAX
        if self.size_bytes > most:
            raise failed(
                OutcomeKind.LOST_RESULT,
                f"the result has more than {most:,} bytes",
                remedy="Ask for a smaller size.",
            )
        try:
            if self._spool is not None:
                await self._spool.write(piece)
                return
            self._held += piece
            if self.size_bytes > HELD_BYTES_MAX:
                self._spool = await self._stack.enter_async_context(
                    self._call.spool(self.media_type)
                )
                await self._spool.write(bytes(self._held))
                self._held.clear()
        except StorageError as error:
            raise _not_kept(error) from error

    async def finish(self) -> tuple[bytes | None, Artifact | None]:
        """Return the whole bytes, or the artifact that they were spooled to.

        Raises ``CallFailed``: no_output for what is no result or lacks its end.
        """
        if not self.media_type:
            self._know()
        if is_cut_off(self.media_type, self._head, self._tail, self.size_bytes):
            raise failed(
                OutcomeKind.NO_OUTPUT,
                f"the {self.media_type} lacks its end ({self.size_bytes:,} bytes came)",
            )
        if self._spool is None:
            return bytes(self._held), None
        try:
            return None, await self._spool.commit()
        except StorageError as error:
            raise _not_kept(error) from error

    def _know(self) -> None:
        """Learn the media type by the first bytes."""
        found = media_type_of(self._head)
        if found is None or found not in self._wanted:
            what = f"is {found}" if found else f"is not {_spoken(self._wanted)}"
            raise failed(OutcomeKind.NO_OUTPUT, f"the answer {what} ({self.size_bytes:,} bytes)")
        self.media_type = found


def _spoken(wanted: frozenset[str]) -> str:
    if wanted - {SVG} == IMAGES:
        return "an image"
    if wanted == FILMS:
        return "a film"
    return "a sound" if wanted == SOUNDS else "a result of a known kind"


def _not_kept(error: StorageError) -> CallFailed:
    return failed(
        OutcomeKind.LOST_RESULT, f"the result was made and not kept: {error}", remedy=error.remedy
    )


@asynccontextmanager
async def receiving(call: Call, wanted: frozenset[str] = IMAGES) -> AsyncIterator[Receiver]:
    """Give a receiver of one result; what it did not finish is removed at the end."""
    async with AsyncExitStack() as stack:
        yield Receiver(call, stack, wanted)


async def take_body(
    response: aiohttp.ClientResponse, call: Call, wanted: frozenset[str] = IMAGES
) -> Reply:
    """Return the reply whose result is the body of a successful response, streamed."""
    async with receiving(call, wanted) as receiver:
        while piece := await response.content.read(PIECE_BYTES):
            await receiver.add(piece)
        body, artifact = await receiver.finish()
    return Reply(receiver.media_type, body=body, artifact=artifact)


async def fetched(
    http: HttpCalls,
    address: Any,
    call: Call,
    wanted: frozenset[str] = IMAGES,
    *,
    pause: Callable[[int], Awaitable[None]],
) -> Reply:
    """Return the reply whose result lies at ``address`` (https, or ``data:``).

    The result is paid for, so the download is tried again by itself, with ``pause(n)``
    after the n-th failure. Raises ``CallFailed``: lost_result when it is gone or never
    came whole, no_output when it is not a result.
    """
    if isinstance(address, str) and address[:5].lower() == "data:":
        return await _inline(address, call, wanted)
    for number in range(1, FETCH_TRIES + 1):
        try:
            return await _download(http, address, call, wanted)
        except CallFailed as failure:
            if failure.outcome.kind is not OutcomeKind.TRANSIENT:
                raise
            reason = failure.outcome.reason
        if number < FETCH_TRIES:
            await pause(number)
    raise failed(
        OutcomeKind.LOST_RESULT,
        f"the result was made and could not be fetched: {reason}",
        remedy="Trying again pays for it again.",
    )


async def _download(http: HttpCalls, address: Any, call: Call, wanted: frozenset[str]) -> Reply:
    async def take(response: aiohttp.ClientResponse) -> Reply:
        if response.status < 300:
            return await take_body(response, call, wanted)
        said = await read_error(response, call.deadline_s)
        words = said[:200].decode("utf-8", "replace")
        if response.status in _GONE:
            raise failed(
                OutcomeKind.LOST_RESULT,
                f"the result is no longer there (HTTP {response.status}): {words}",
                remedy="It was made and perhaps billed. Trying again pays for it again.",
                # A key that is not taken says nothing of the file.
                ended=response.status != 401,
            )
        raise failed(OutcomeKind.TRANSIENT, f"HTTP {response.status}: {words}")

    return await http.fetch(address, call.deadline_s, take)


async def _inline(address: str, call: Call, wanted: frozenset[str]) -> Reply:
    head, comma, data = address.partition(",")
    try:
        if not comma:
            raise ValueError("no comma")
        if head.lower().endswith(";base64"):
            body = base64.b64decode("".join(unquote_to_bytes(data).decode("ascii").split()))
        else:
            body = unquote_to_bytes(data)
    except (ValueError, binascii.Error):
        raise failed(OutcomeKind.NO_OUTPUT, "the data: address cannot be read") from None
    async with receiving(call, wanted) as receiver:
        for at in range(0, max(1, len(body)), PIECE_BYTES):
            await receiver.add(body[at : at + PIECE_BYTES])
        kept, artifact = await receiver.finish()
    return Reply(receiver.media_type, body=kept, artifact=artifact)
