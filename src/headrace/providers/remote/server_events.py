"""Answers that come as server-sent events: their data in order, bounded, while they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp

from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.providers.remote.http_calls import (
    JSON_BYTES_MAX,
    STEP_BYTES,
    UNCOUNTED_BYTES,
    Answer,
)
from headrace.providers.remote.words import mended

MEDIA_TYPE = "text/event-stream"
EVENT_BYTES_MAX = 4 * 1024 * 1024
_FIELDS = (b":", b"event:", b"id:", b"retry:")


def has_events(response: aiohttp.ClientResponse) -> bool:
    """Tell whether an answer comes in events: a server may answer whole all the same."""
    return response.content_type == MEDIA_TYPE


async def data_of(
    response: aiohttp.ClientResponse, bytes_max: int = JSON_BYTES_MAX, *, bare: bool = False
) -> AsyncIterator[bytes]:
    """Yield the data of each event; what has no data is passed over.

    With ``bare`` a line that belongs to no field of an event is data, too.

    What was read counts against the budget of bytes, for its text is kept until the end. Raises
    ``CallFailed`` (lost_result) above ``bytes_max``, and for an event without an end.
    """
    data: list[bytes] = []
    size = 0
    async for line in _lines(response, bytes_max, with_rest=bare):
        if not line and data:
            yield b"\n".join(data)
            data, size = [], 0
        told = _data(line, bare=bare)
        if told is None:
            continue
        data.append(told)
        size += len(told) + 1
        if size > EVENT_BYTES_MAX:
            raise _too_large(EVENT_BYTES_MAX)
    if data:
        yield b"\n".join(data)


def _data(line: bytes, *, bare: bool) -> bytes | None:
    """What a line adds to the data of its event, ``None`` for another field."""
    if line.startswith(b"data:"):
        return line[5:].removeprefix(b" ")
    return line if bare and line and not line.startswith(_FIELDS) else None


async def _lines(
    response: aiohttp.ClientResponse, bytes_max: int, *, with_rest: bool
) -> AsyncIterator[bytes]:
    """Yield the lines that are whole, without their ends; ``with_rest``: the last one anyway."""
    buffer, looked_at = bytearray(), 0
    async for piece in _pieces(response, bytes_max):
        buffer += piece
        while (end := buffer.find(b"\n", looked_at)) >= 0:
            line = bytes(buffer[:end]).removesuffix(b"\r")
            del buffer[: end + 1]
            looked_at = 0
            yield line
        looked_at = len(buffer)
        if looked_at > EVENT_BYTES_MAX:
            raise _too_large(EVENT_BYTES_MAX)
    if with_rest and buffer:
        yield bytes(buffer)


async def _pieces(response: aiohttp.ClientResponse, bytes_max: int) -> AsyncIterator[bytes]:
    hold = response.hold if isinstance(response, Answer) else None
    size, counted = 0, UNCOUNTED_BYTES
    while piece := await response.content.readany():
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        while size > counted and hold is not None:
            # Twice: the pieces, and the whole that is made of them.
            await hold.grow(2 * STEP_BYTES)
            counted += STEP_BYTES
        yield piece


def broken_off() -> CallFailed:
    """Return how a call ends whose answer stops before it says that it is complete."""
    return failed(
        OutcomeKind.LOST_RESULT,
        "the answer broke off before its end",
        remedy="Ask again. If it happens often, ask for less in one call.",
    )


def _too_large(bytes_max: int) -> CallFailed:
    return failed(
        OutcomeKind.LOST_RESULT,
        f"the answer has more than {bytes_max:,} bytes",
        remedy="Ask for less in one call.",
    )


class Spoken:
    """A text that comes in pieces: says each, and knows the whole.

    A letter beyond the basic plane may be cut in two halves, each a JSON escape of its own:
    the first half waits for the second.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._pieces: list[str] = []
        self._half = ""

    def add(self, piece: str) -> None:
        """Add a piece, and say it."""
        piece = self._half + piece
        self._half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        self._keep(piece.removesuffix(self._half) if self._half else piece)

    def whole(self) -> str:
        """Return the text; nothing may be added after that."""
        self._keep(self._half)
        self._half = ""
        return "".join(self._pieces)

    def _keep(self, piece: str) -> None:
        if not piece:
            return
        whole = mended(piece)
        self._pieces.append(whole)
        self._say(whole)
