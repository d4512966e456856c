"""Receives an image of an OpenAI-shaped API: decoded while it arrives, never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

from headrace.limits import Said
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, Reply
from headrace.providers import openai_messages as messages
from headrace.providers.base64_field import Base64Field
from headrace.providers.http_calls import PIECE_BYTES
from headrace.providers.receiving import receiving
from headrace.signals import read_announced

Failed = Callable[[aiohttp.ClientResponse, bytes], CallFailed]
Cost = Callable[[aiohttp.ClientResponse, messages.ImageReply], dict[str, Any]]


async def take_image(
    response: aiohttp.ClientResponse, call: Call, told: Failed, cost: Cost
) -> Reply:
    """Return the image of a success; ``told`` says how a response without one ended.

    ``cost`` returns what the call cost as fields of the reply.
    """
    field = Base64Field()
    async with receiving(call) as image:
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
        **cost(response, reply),
    )


async def _pieces(response: aiohttp.ClientResponse, field: Base64Field) -> AsyncIterator[bytes]:
    while piece := await response.content.read(PIECE_BYTES):
        decoded = field.feed(piece)
        if decoded:
            yield decoded


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
