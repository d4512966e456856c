"""Answers as OpenAI's API streams them: whole ones, and those that are told while bought."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from headrace.errors import HeadraceError
from headrace.http.ended import Answered
from headrace.http.problems import openai_error, status_of
from headrace.http.showing import Showing
from headrace.http.telling import Telling
from headrace.openai_answers import format_of, image_usage
from headrace.openai_responses import (
    begun_events,
    delta_event,
    ended_events,
    failed_event,
    pieces,
    response_events,
)
from headrace.telemetry import log

MEDIA_TYPE = "text/event-stream"
_ROLE = {"role": "assistant"}
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_encode = msgspec.json.Encoder().encode

Told = Callable[[Answered], dict[str, Any]]
"""Makes the whole answer of what was made."""

ImageFile = tuple[bytes, str, dict[str, Any]]
"""An image as it is handed out, its extension and facts."""

GENERATION = "image_generation"
"""Before the names of a new image's events."""

IMAGE_PIECE_BYTES = 3 * 16 * 1024


def chat_stream(told: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    """Yield a chat completion in chunks."""
    about, role = _about(told), _ROLE
    content = told["choices"][0]["message"]["content"]
    for text in () if content is None else pieces(content):
        yield _data(_chunk(about, {**role, "content": text}, None))
        role = {}
    yield from _chat_end(told, with_usage, role)


async def live_chat(
    telling: Telling, begun: dict[str, Any], told: Told, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Yield a chat completion while it is bought; an error where it has no end.

    ``begun`` is what it would be without a text.
    """
    about, role = _about(begun), _ROLE
    try:
        async for text in telling.pieces():
            yield _data(_chunk(about, {**role, "content": text}, None))
            role = {}
        whole = told(telling.whole())
    except Exception as error:  # broad: the status is out, so it can only be told here
        yield _broken(error)
        return
    finally:
        telling.close()
    for event in _chat_end(whole, with_usage, role):
        yield event


def _chat_end(told: dict[str, Any], with_usage: bool, role: dict[str, str]) -> Iterator[bytes]:
    """Yield what follows the text; ``role`` is told with the first call where there was none."""
    about = _about(told)
    first: dict[str, Any] = {**role, "content": None} if role else {}
    for delta in _call_deltas(told["choices"][0]["message"].get("tool_calls", ())):
        yield _data(_chunk(about, {**first, "tool_calls": [delta]}, None))
        first = {}
    yield _data(_chunk(about, {}, told["choices"][0]["finish_reason"]))
    if with_usage:
        yield _data({**about, "choices": [], "usage": told.get("usage")})
    yield b"data: [DONE]\n\n"


def _call_deltas(calls: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each call as its beginning, then its arguments in pieces."""
    for index, call in enumerate(calls):
        function = call["function"]
        yield {"index": index, **call, "function": {**function, "arguments": ""}}
        for piece in pieces(function["arguments"]):
            yield {"index": index, "function": {"arguments": piece}}


def _about(told: dict[str, Any]) -> dict[str, Any]:
    about = {name: told[name] for name in ("id", "created", "model")}
    return {**about, "object": "chat.completion.chunk"}


def _broken(error: Exception) -> bytes:
    ours = _ours(error)
    return _data(openai_error(ours, status_of(ours)))


def _ours(error: Exception) -> HeadraceError:
    if isinstance(error, HeadraceError):
        return error
    log().error("stream_failed", exc_info=error)
    return HeadraceError("something unexpected; the log says more")


def _chunk(about: dict[str, Any], delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def response_stream(told: dict[str, Any]) -> Iterator[bytes]:
    """Yield a response as its events."""
    for event in response_events(told):
        yield _event(event)


async def live_response(
    telling: Telling, begun: dict[str, Any], told: Told
) -> AsyncGenerator[bytes, None]:
    """Yield a response as its events while it is bought; a failed one where it has no end."""
    number = 0

    def numbered(event: dict[str, Any]) -> bytes:
        nonlocal number
        number += 1
        return _event({**event, "sequence_number": number - 1})

    try:
        for event in begun_events(begun):
            yield numbered(event)
        async for text in telling.pieces():
            yield numbered(delta_event(begun, text))
        whole = told(telling.whole())
    except Exception as error:  # broad: the status is out, so it can only be told here
        ended = _ours(error)
        said = openai_error(ended, status_of(ended))["error"]
        yield numbered(failed_event(begun, said["code"], said["message"]))
        return
    finally:
        telling.close()
    for event in ended_events(whole):
        yield numbered(event)


def image_stream(
    kind: str, images: list[ImageFile], body: dict[str, Any], at: datetime
) -> Iterator[bytes]:
    """Yield images, each with its extension and facts, as ``kind`` names their events.

    Each is only told when it is complete.
    """
    for image, extension, facts in images:
        told = {
            "type": f"{kind}.completed",
            "created_at": int(at.timestamp()),
            "output_format": format_of(extension),
            **_about_image(facts, body),
            "usage": image_usage([facts]),
        }
        yield from _image_event(told, image)


async def live_image(
    showing: Showing,
    body: dict[str, Any],
    at: datetime,
    files: Callable[[Answered], Awaitable[list[ImageFile]]],
) -> AsyncGenerator[bytes, None]:
    """Yield the previews of an image while it is bought, then the image; an error without one.

    ``files`` reads what was made.
    """
    try:
        async for preview in showing.previews():
            told = {
                "type": f"{GENERATION}.partial_image",
                "created_at": int(at.timestamp()),
                "output_format": preview.media_type.removeprefix("image/"),
                **_about_image(preview.about, body),
                "partial_image_index": preview.index,
            }
            for piece in _image_event(told, preview.body):
                yield piece
            del preview  # while the next one is waited for nothing is held
        images = await files(showing.whole())
    except Exception as error:  # broad: the status is out, so it can only be told here
        yield _broken(error)
        return
    finally:
        showing.close()
    for piece in image_stream(GENERATION, images, body, at):
        yield piece


def _about_image(told: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    names = ("size", "quality", "background")
    return {name: told.get(name) or body.get(name) or "auto" for name in names}


def _image_event(told: dict[str, Any], image: bytes) -> Iterator[bytes]:
    """Yield an event with an image in small pieces: its base64 is never whole in memory."""
    head: bytes = _encode({**told, "b64_json": ""})
    yield b"event: " + str(told["type"]).encode() + b"\ndata: " + head.removesuffix(b'"}')
    for start in range(0, len(image), IMAGE_PIECE_BYTES):
        yield base64.b64encode(memoryview(image)[start : start + IMAGE_PIECE_BYTES])
    yield b'"}\n\n'


def _event(event: dict[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\n" + _data(event)


def _data(told: dict[str, Any]) -> bytes:
    data: bytes = _encode(told)
    return b"data: " + data + b"\n\n"
