"""Receives an image of an OpenAI-shaped API: decoded while it arrives, never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec

from headrace.artifact import Artifact
from headrace.errors import StorageError
from headrace.limits import Said
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, Reply, Spool
from headrace.providers import openai_messages as messages
from headrace.providers.base64_field import Base64Field
from headrace.providers.http_calls import PIECE_BYTES
from headrace.signals import read_announced

HELD_BYTES_MAX = 64 * 1024
"""Smaller images are returned in memory; a larger one goes through the spool in pieces."""

IMAGE_BYTES_MAX = 64 * 1024 * 1024
_HEAD_BYTES = 12

Failed = Callable[[aiohttp.ClientResponse, bytes], CallFailed]


async def take_image(response: aiohttp.ClientResponse, call: Call, told: Failed) -> Reply:
    """Return the image of a success; ``told`` says how a response without one ended."""
    field = Base64Field()
    async with AsyncExitStack() as stack:
        image = _Image(call, stack)
        try:
            async for piece in _pieces(response, field):
                await image.add(piece)
        except ValueError as error:  # of the sieve: the text is not base64, or the rest too long
            raise failed(OutcomeKind.NO_OUTPUT, f"the image cannot be read: {error}") from None
        if not field.complete:
            raise _missing(response, field, told)
        reply = _rest(bytes(field.rest))
        body, artifact = await image.finish()
    return Reply(
        image.media_type,
        body=body,
        artifact=artifact,
        provider_request_id=response.headers.get("x-request-id"),
        facts=_facts(reply),
        said=Said(
            limits=read_announced(response.headers), tokens=messages.tokens_used(reply.usage)
        ),
    )


async def _pieces(response: aiohttp.ClientResponse, field: Base64Field) -> AsyncIterator[bytes]:
    while piece := await response.content.read(PIECE_BYTES):
        decoded = field.feed(piece)
        if decoded:
            yield decoded


class _Image:
    """The bytes of one image on their way: held while few, else spooled."""

    def __init__(self, call: Call, stack: AsyncExitStack) -> None:
        self._call = call
        self._stack = stack
        self._held = bytearray()
        self._size_bytes = 0
        self._spool: Spool | None = None
        self.media_type = ""

    async def add(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        if self._size_bytes > IMAGE_BYTES_MAX:
            raise failed(
                OutcomeKind.LOST_RESULT,
                f"the image has more than {IMAGE_BYTES_MAX:,} bytes",
                remedy="Ask for a smaller size.",
            )
        try:
            if self._spool is not None:
                await self._spool.write(piece)
                return
            self._held += piece
            if self._size_bytes > HELD_BYTES_MAX:
                self._know()
                self._spool = await self._stack.enter_async_context(
                    self._call.spool(self.media_type)
                )
                await self._spool.write(bytes(self._held))
                self._held.clear()
        except StorageError as error:
            raise _not_kept(error) from error

    async def finish(self) -> tuple[bytes | None, Artifact | None]:
        """Return the image's bytes, or the artifact that they were spooled to."""
        if self._spool is None:
            self._know()
            return bytes(self._held), None
        try:
            return None, await self._spool.commit()
        except StorageError as error:
            raise _not_kept(error) from error

    def _know(self) -> None:
        """Learn the media type by the first bytes: what is no image is no result."""
        found = messages.media_type_of(self._held[:_HEAD_BYTES])
        if found is None:
            raise failed(
                OutcomeKind.NO_OUTPUT, f"the answer is not an image ({self._size_bytes:,} bytes)"
            )
        self.media_type = found


def _not_kept(error: StorageError) -> CallFailed:
    return failed(
        OutcomeKind.LOST_RESULT, f"the image was made and not kept: {error}", remedy=error.remedy
    )


def _rest(body: bytes) -> messages.ImageReply:
    """Return what stands beside the image; it may be wrong without harm to the image."""
    try:
        return messages.read_image(body)
    except (msgspec.DecodeError, RecursionError):
        return messages.ImageReply()


def _missing(response: aiohttp.ClientResponse, field: Base64Field, told: Failed) -> CallFailed:
    if field.found:
        return failed(OutcomeKind.LOST_RESULT, "the image breaks off in the middle")
    body = bytes(field.rest)
    first = (_rest(body).data or [{}])[0]
    if isinstance(first.get("url"), str):
        return failed(
            OutcomeKind.INVALID,
            "the server answered with an address instead of the image itself",
            remedy='Set response_format = "b64_json" in the params, if it knows that.',
        )
    return told(response, body)


def _facts(reply: messages.ImageReply) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    usage = messages.plain_usage(reply.usage)
    if usage:
        facts["usage"] = usage
    for name, value in (("model", reply.model), ("size", reply.size), ("quality", reply.quality)):
        if isinstance(value, str):
            facts[name] = value
    return facts
