"""Takes the answer of generateContent: images are decoded while it arrives, never held whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp

from headrace.limits import Said
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, Reply
from headrace.providers.google.gemini_messages import offers_functions, paints, wants_json
from headrace.providers.google.gemini_replies import Told, read_told, unfit
from headrace.providers.google.gemini_spoken import read_spoken
from headrace.providers.google.gemini_tools import calls_of
from headrace.providers.google.inline_sieve import InlineSieve
from headrace.providers.remote.adapter import ID_CHARS_MAX
from headrace.providers.remote.http_calls import JSON_BYTES_MAX, PIECE_BYTES, read_whole
from headrace.providers.remote.receiving import Receiver
from headrace.signals import read_announced
from headrace.tool_calls import kept

IMAGES_MAX = 8
"""Images of one answer that are received: thoughts may come as images, too, before the last."""

REST_BYTES_MAX = 4 * 1024 * 1024
"""What may stand beside the images of an answer."""

Failed = Callable[[aiohttp.ClientResponse, bytes], CallFailed]
Cost = Callable[[aiohttp.ClientResponse, Told], dict[str, Any]]


class _Images:
    """The images of one answer on their way; which of them is the result is known at its end."""

    def __init__(self, call: Call, stack: AsyncExitStack) -> None:
        self._call = call
        self._stack = stack
        self._receivers: dict[int, Receiver] = {}
        self._broken: dict[int, CallFailed] = {}

    async def add(self, number: int, piece: bytes) -> None:
        """Take the next bytes of an image; what is no image is remembered as such."""
        if number in self._broken:
            return
        receiver = self._receivers.get(number)
        if receiver is None:
            receiver = self._receivers[number] = Receiver(self._call, self._stack)
        try:
            await receiver.add(piece)
        except CallFailed as failure:
            self._broken[number] = failure

    async def finish(self, numbers: tuple[int, ...]) -> Reply:
        """Return the first of the images that is one; raises ``CallFailed``."""
        first: CallFailed | None = None
        for number in numbers:
            try:
                if number in self._broken:
                    raise self._broken[number]
                receiver = self._receivers.get(number)
                if receiver is None:
                    raise failed(OutcomeKind.NO_OUTPUT, "the answer's image is empty")
                body, artifact = await receiver.finish()
                return Reply(receiver.media_type, body=body, artifact=artifact)
            except CallFailed as failure:
                first = first or failure
        assert first is not None
        raise first


async def take_answer(
    response: aiohttp.ClientResponse,
    call: Call,
    told_by: Failed,
    cost: Cost,
    say: Callable[[str], None] | None = None,
) -> Reply:
    """Return the reply of a success, text or image as was asked.

    ``say`` hears a text that comes in pieces.
    ``told_by`` says how a response without an answer ended, ``cost`` what one that was billed
    cost, as fields of a ``Reply``. Raises ``CallFailed``.
    """
    drawn = paints(call.request)
    offers = not drawn and offers_functions(call.request)
    sieve = InlineSieve(*((IMAGES_MAX, REST_BYTES_MAX) if drawn else (0, JSON_BYTES_MAX)))
    async with AsyncExitStack() as stack:
        images = _Images(call, stack)
        try:
            if not drawn:
                whole = read_whole(response) if say is None else read_spoken(response, say)
                # Of calls all counts: signatures, and arguments that are called data.
                (sieve.rest.extend if offers else sieve.feed)(await whole)
            while drawn and (piece := await response.content.read(PIECE_BYTES)):
                for number, decoded in sieve.feed(piece):
                    await images.add(number, decoded)
        except ValueError as error:  # of the sieve: not base64, or the rest too long
            raise failed(OutcomeKind.NO_OUTPUT, f"the answer cannot be read: {error}") from None
        if sieve.inside:
            raise failed(OutcomeKind.LOST_RESULT, "the answer breaks off in the middle")
        rest = bytes(sieve.rest)
        told = read_told(rest)
        if told is None or told.fault:
            raise told_by(response, rest)
        try:
            reply = await _result(told, call, images if drawn else None, told_by, response, rest)
        except CallFailed as failure:
            raise _with(failure, told, response, cost(response, told)) from None
    return replace(
        reply,
        provider_request_id=_id(told),
        facts=told.facts(),
        said=_said(told, response),
        **cost(response, told),
    )


async def _result(
    told: Told,
    call: Call,
    images: _Images | None,
    told_by: Failed,
    response: aiohttp.ClientResponse,
    rest: bytes,
) -> Reply:
    offers = images is None and offers_functions(call.request)
    wrong = unfit(told, images is not None, offers)
    if wrong is not None:
        # An object that is none of Google's is read as any other server's would be.
        foreign = not (told.finish or told.blocked or told.usage)
        raise told_by(response, rest) if foreign else CallFailed(wrong)
    if images is not None:
        return await images.finish(told.images)
    calls = calls_of(told) if offers else ()
    media_type, body = kept(told.text, calls, is_json=wants_json(call.request))
    return Reply(media_type, body=body)


def _with(
    failure: CallFailed, told: Told, response: aiohttp.ClientResponse, cost: dict[str, Any]
) -> CallFailed:
    """The failure with what its answer told beside it: usage is billed all the same."""
    outcome = failure.outcome
    return CallFailed(
        replace(
            outcome,
            facts={**outcome.facts, **told.facts()},
            provider_request_id=outcome.provider_request_id or _id(told),
            said=outcome.said or _said(told, response),
            **cost,
        )
    )


def _id(told: Told) -> str | None:
    return told.id[:ID_CHARS_MAX] if told.id else None


def _said(told: Told, response: aiohttp.ClientResponse) -> Said:
    """Limits count the tokens that go in, so these are what a call has used of them."""
    return Said(
        limits=read_announced(response.headers),
        tokens=told.prompt_tokens,
        tokens_in=told.prompt_tokens or 0,
    )
