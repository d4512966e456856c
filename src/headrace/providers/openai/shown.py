"""Images of OpenAI's API that come in events: previews are shown, the whole one is received."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp

from headrace.artifact import Artifact
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.preview import PREVIEW_BYTES_MAX, Preview, Previews
from headrace.provider import Call
from headrace.providers.remote.base64_field import Base64Field
from headrace.providers.remote.http_calls import STEP_BYTES, Answer, read_object
from headrace.providers.remote.media import HEAD_BYTES, SVG, TAIL_BYTES, is_cut_off, media_type_of
from headrace.providers.remote.receiving import Receiver
from headrace.providers.remote.server_events import broken_off
from headrace.providers.remote.words import encode_words

PARTIAL, COMPLETED = ".partial_image", ".completed"
_ABOUT = ("size", "quality", "background")
_WORD_CHARS_MAX = 100
_DATA = b"data:"
_LINE_BYTES_MAX = 200
_INDEX_MAX = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """The image that came whole, as ``Receiver.finish`` returns it, and what stood beside it."""

    media_type: str
    body: bytes | None
    artifact: Artifact | None
    rest: bytes


class ShownImages:
    """Reads one answer; images are decoded while they come, and only a preview is held whole.

    ``told`` says how a response without an image ended.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        call: Call,
        wanted: frozenset[str],
        previews: Previews,
        told: Callable[[aiohttp.ClientResponse, bytes], CallFailed],
    ) -> None:
        self._response = response
        self._call = call
        self._wanted = wanted
        self._previews = previews
        self._told = told
        self._room = _Room(response)

    async def read(self) -> Shown:
        """Return the whole image.

        Raises ``CallFailed``: lost_result where none comes whole, no_output for what is none,
        and what an error among the events says.
        """
        event = _Event("", self._call, self._wanted, self._room)
        try:
            async for line, data in _lines(self._response):
                if data is not None:
                    await self._fed(event, data)
                elif line.startswith(b"event:"):
                    event.name = line[6:].strip().decode("utf-8", "replace")
                elif not line.strip():
                    shown = await self._dispatched(event)
                    if shown is not None:
                        return shown
                    await event.close()
                    event = _Event("", self._call, self._wanted, self._room)
            shown = await self._dispatched(event)  # some leave out the last empty line
            if shown is not None:
                return shown
        finally:
            await event.close()
        raise broken_off()

    async def _fed(self, event: _Event, data: bytes) -> None:
        try:
            await event.feed(data)
        except ValueError as error:  # of the sieve: no base64, or the rest too long
            raise failed(OutcomeKind.NO_OUTPUT, f"the image cannot be read: {error}") from None

    async def _dispatched(self, event: _Event) -> Shown | None:
        """Do what an event says; returns the image when it is the whole one."""
        rest = bytes(event.sieve.rest)
        told = read_object(rest) if rest.strip() else None
        if told is None:
            return None
        kind = told.get("type")
        kind = kind if isinstance(kind, str) else event.name
        if told.get("error") or kind == "error":
            raise self._told(self._response, encode_words({"error": told.get("error") or told}))
        if kind.endswith(COMPLETED):
            image = await event.whole()
            if image is None:
                raise self._told(self._response, rest)
            body, artifact = await image.finish()
            return Shown(image.media_type, body, artifact, rest)
        if kind.endswith(PARTIAL):
            await self._show(event, told)
        return None

    async def _show(self, event: _Event, told: dict[str, Any]) -> None:
        """Show a preview; one that is no picture, or too large, is passed over."""
        body, index = event.preview(), told.get("partial_image_index")
        media_type = media_type_of(body[:HEAD_BYTES])
        if media_type is None or media_type == SVG or media_type not in self._wanted:
            return
        if is_cut_off(media_type, body[:HEAD_BYTES], body[-TAIL_BYTES:], len(body)):
            return
        words = {name: told[name] for name in _ABOUT if isinstance(told.get(name), str)}
        about = {name: word[:_WORD_CHARS_MAX] for name, word in words.items()}
        index = index if type(index) is int and 0 <= index < _INDEX_MAX else 0
        await self._previews.show(Preview(index, media_type, body, about))


class _Room:
    """What previews of one call hold of the budget of bytes: the largest, and the one before."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._hold = response.hold if isinstance(response, Answer) else None
        self._counted = 0

    async def of(self, size_bytes: int) -> None:
        """Wait until a preview may have so many bytes."""
        while size_bytes > self._counted and self._hold is not None:
            await self._hold.grow(2 * STEP_BYTES)
            self._counted += STEP_BYTES


class _Event:
    """One event on its way: its JSON, and the image that was taken out of it."""

    def __init__(self, name: str, call: Call, wanted: frozenset[str], room: _Room) -> None:
        self.name = name
        self.sieve = Base64Field()
        self._call = call
        self._wanted = wanted
        self._room = room
        self._stack = AsyncExitStack()
        self._image: Receiver | None = None
        self._held: bytearray | None = None
        self._is_large = False

    async def feed(self, data: bytes) -> None:
        """Take the next bytes of its data; raises ``ValueError`` and ``CallFailed``."""
        decoded = self.sieve.feed(data)
        if not decoded:
            return
        if self._held is None and self._image is None:
            self._begin()
        if self._image is not None:
            await self._image.add(decoded)
        elif self._held is not None and not self._is_large:
            self._is_large = len(self._held) + len(decoded) > PREVIEW_BYTES_MAX
            if self._is_large:
                self._held.clear()
                return
            await self._room.of(len(self._held) + len(decoded))
            self._held += decoded

    def _begin(self) -> None:
        """Decide where the image goes; what may be the whole one is received as such."""
        before = bytes(self.sieve.rest)
        if self.name.endswith(PARTIAL) or (PARTIAL + '"').encode() in before:
            self._held = bytearray()
        else:
            self._image = Receiver(self._call, self._stack, self._wanted)

    async def whole(self) -> Receiver | None:
        """Return the image of an event that is the last; ``None`` where there is none of it."""
        if self._held is not None and not self._is_large:  # it came under another name
            self._image = Receiver(self._call, self._stack, self._wanted)
            await self._image.add(bytes(self._held))
        return self._image

    def preview(self) -> bytes:
        """Return the image of an event that shows one; empty where there is none that can be."""
        return b"" if self._held is None else bytes(self._held)

    async def close(self) -> None:
        """Let go of what was received and not kept."""
        await self._stack.aclose()


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[bytes, bytes | None]]:
    """Yield the lines of an answer, those with data in pieces as they come.

    A piece of data stands beside an empty line, another field (its beginning) beside ``None``.
    """
    line, is_data = bytearray(), False
    while chunk := await response.content.readany():
        pieces = chunk.split(b"\n")
        for number, piece in enumerate(pieces):
            is_end = number < len(pieces) - 1
            if is_data:
                yield b"", piece
            else:
                line += piece
                is_data = line.startswith(_DATA)
                if is_data:
                    yield b"", bytes(line[len(_DATA) :])
                elif is_end:
                    yield bytes(line[:_LINE_BYTES_MAX]), None
            if is_data or is_end:
                line.clear()
            del line[_LINE_BYTES_MAX:]
            is_data = is_data and not is_end
