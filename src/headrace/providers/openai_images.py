"""Receives an image of an OpenAI-shaped API in whatever shape its server delivers one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from headrace.limits import Said
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, Reply
from headrace.providers import openai_replies as replies
from headrace.providers.base64_field import Base64Field
from headrace.providers.http_calls import PIECE_BYTES, HttpCalls
from headrace.providers.receiving import fetched, receiving, take_body
from headrace.providers.remote import request_id
from headrace.request import Request
from headrace.signals import read_announced

_RAW = ("image/", "application/octet-stream")


@dataclass(frozen=True)
class ImageReader:
    """Reads the images of one provider: never whole in memory, none of it believed unseen.

    An image is base64 in the JSON (``b64_json``, a ``data:`` address), an address that it
    is fetched from, or the body itself. ``told`` says how a response without one ended,
    ``cost`` what a call cost, as fields of its reply.
    """

    http: HttpCalls
    told: Callable[[aiohttp.ClientResponse, bytes], CallFailed]
    cost: Callable[[aiohttp.ClientResponse, replies.ImageReply, Request], dict[str, Any]]
    pause: Callable[[int], Awaitable[None]]

    async def take(
        self,
        response: aiohttp.ClientResponse,
        call: Call,
        wanted: frozenset[str],
        name: str = "b64_json",
    ) -> Reply:
        """Return the image of a success; ``name`` is the field that its base64 text is under.

        Raises ``CallFailed``: no_output and lost_result, or what ``told`` says.
        """
        if response.content_type.startswith(_RAW):
            image, beside = await take_body(response, call, wanted), replies.ImageReply()
        else:
            image, beside = await self._out_of_json(response, call, wanted, name)
        return replace(
            image,
            provider_request_id=request_id(response, beside.id),
            facts=replies.facts_of(beside),
            said=Said(
                limits=read_announced(response.headers), tokens=replies.tokens_used(beside.usage)
            ),
            **self.cost(response, beside, call.request),
        )

    async def _out_of_json(
        self, response: aiohttp.ClientResponse, call: Call, wanted: frozenset[str], name: str
    ) -> tuple[Reply, replies.ImageReply]:
        field = Base64Field(name)
        async with receiving(call, wanted) as image:
            try:
                async for piece in _pieces(response, field):
                    await image.add(piece)
            except ValueError as error:  # of the sieve: no base64, or the rest too long
                raise failed(OutcomeKind.NO_OUTPUT, f"the image cannot be read: {error}") from None
            if field.found and not field.complete:
                raise failed(OutcomeKind.LOST_RESULT, "the image breaks off in the middle")
            beside = replies.read_image(bytes(field.rest))
            if image.size_bytes:
                body, artifact = await image.finish()
                return Reply(image.media_type, body=body, artifact=artifact), beside
        address = (beside.data or [{}])[0].get("url")
        if not isinstance(address, str) or not address:
            raise self.told(response, bytes(field.rest))
        found = await fetched(self.http, address, call, wanted, pause=self.pause)
        return found, beside


async def _pieces(response: aiohttp.ClientResponse, field: Base64Field) -> AsyncIterator[bytes]:
    while piece := await response.content.read(PIECE_BYTES):
        decoded = field.feed(piece)
        if decoded:
            yield decoded
