"""Receives an image of an OpenAI-shaped API in whatever shape its server delivers one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from headrace.limits import Said
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.preview import Previews
from headrace.provider import Call, Reply
from headrace.providers.openai import replies
from headrace.providers.openai.shown import ShownImages
from headrace.providers.remote.adapter import request_id
from headrace.providers.remote.base64_field import Base64Field
from headrace.providers.remote.http_calls import PIECE_BYTES, HttpCalls
from headrace.providers.remote.receiving import fetched, receiving, take_body
from headrace.request import Request
from headrace.signals import read_announced

_RAW = ("image/", "application/octet-stream")


@dataclass(slots=True)
class _Seen:
    """What was read of one answer until now, for what it cost if it is no result."""

    beside: replies.ImageReply = field(default_factory=replies.ImageReply)
    images: int = 0


@dataclass(frozen=True)
class ImageReader:
    """Reads the images of one provider: never whole in memory, none of it believed unseen.

    An image is base64 in the JSON (``b64_json``, a ``data:`` address), an address that it
    is fetched from, or the body itself. ``told`` says how a response without one ended,
    ``cost`` what a call cost, as fields of its reply, by what stands beside the images and
    by how many of those were made.
    """

    http: HttpCalls
    told: Callable[[aiohttp.ClientResponse, bytes], CallFailed]
    cost: Callable[[aiohttp.ClientResponse, replies.ImageReply, Request, int], dict[str, Any]]
    pause: Callable[[int], Awaitable[None]]

    async def take(
        self,
        response: aiohttp.ClientResponse,
        call: Call,
        wanted: frozenset[str],
        name: str = "b64_json",
        previews: Previews | None = None,
    ) -> Reply:
        """Return the image of a success; ``name`` is the field that its base64 text is under.

        With ``previews`` the answer comes in events, and those are shown as they come.
        Raises ``CallFailed``: no_output and lost_result, or what ``told`` says.
        """
        seen = _Seen()
        try:
            if previews is not None:
                image = await self._out_of_events(response, call, wanted, previews, seen)
            elif response.content_type.startswith(_RAW):
                image = await take_body(response, call, wanted)
                seen.images = 1
            else:
                image = await self._out_of_json(response, call, wanted, name, seen)
        except CallFailed as failure:
            raise self._billed(failure, response, call, seen) from failure.__cause__
        beside = seen.beside
        return replace(
            image,
            provider_request_id=request_id(response, beside.id),
            facts=replies.facts_of(beside),
            said=Said(
                limits=read_announced(response.headers), tokens=replies.tokens_used(beside.usage)
            ),
            **self.cost(response, beside, call.request, seen.images),
        )

    def _billed(
        self, failure: CallFailed, response: aiohttp.ClientResponse, call: Call, seen: _Seen
    ) -> CallFailed:
        """Return a failure with what its answer told beside it: usage is billed all the same."""
        outcome = failure.outcome
        facts = {**replies.facts_of(seen.beside), **outcome.facts}
        cost = self.cost(response, seen.beside, call.request, seen.images)
        said = Said(
            limits=read_announced(response.headers),
            tokens=replies.tokens_used(seen.beside.usage),
        )
        return CallFailed(replace(outcome, facts=facts, said=outcome.said or said, **cost))

    async def _out_of_events(
        self,
        response: aiohttp.ClientResponse,
        call: Call,
        wanted: frozenset[str],
        previews: Previews,
        seen: _Seen,
    ) -> Reply:
        shown = await ShownImages(response, call, wanted, previews, self.told).read()
        seen.beside, seen.images = replies.read_image(shown.rest), 1
        return Reply(shown.media_type, body=shown.body, artifact=shown.artifact)

    async def _out_of_json(
        self,
        response: aiohttp.ClientResponse,
        call: Call,
        wanted: frozenset[str],
        name: str,
        seen: _Seen,
    ) -> Reply:
        sieve = Base64Field(name)
        async with receiving(call, wanted) as image:
            try:
                async for piece in _pieces(response, sieve):
                    await image.add(piece)
            except ValueError as error:  # of the sieve: no base64, or the rest too long
                raise failed(OutcomeKind.NO_OUTPUT, f"the image cannot be read: {error}") from None
            if sieve.found and not sieve.complete:
                raise failed(OutcomeKind.LOST_RESULT, "the image breaks off in the middle")
            seen.beside = replies.read_image(bytes(sieve.rest))
            if image.size_bytes:
                seen.images = 1
                body, artifact = await image.finish()
                return Reply(image.media_type, body=body, artifact=artifact)
        address = (seen.beside.data or [{}])[0].get("url")
        if not isinstance(address, str) or not address:
            raise self.told(response, bytes(sieve.rest))
        seen.images = 1
        return await fetched(self.http, address, call, wanted, pause=self.pause)


async def _pieces(response: aiohttp.ClientResponse, field: Base64Field) -> AsyncIterator[bytes]:
    while piece := await response.content.read(PIECE_BYTES):
        decoded = field.feed(piece)
        if decoded:
            yield decoded
