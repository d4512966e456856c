"""Answers as OpenAI's API streams them: whole ones, and those that are told while bought."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from headrace.errors import HeadraceError
from headrace.http.ended import Answered
from headrace.http.problems import openai_error, status_of
from headrace.http.telling import Telling
from headrace.openai_answers import format_of, image_part, image_usage
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


def chat_stream(told: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    """Yield a chat completion in chunks."""
    about, role = _about(told), _ROLE
    for text in pieces(told["choices"][0]["message"]["content"]):
        yield _data(_chunk(about, {**role, "content": text}, None))
        role = {}
    yield from _chat_end(told, with_usage)


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
        ended = _ours(error)
        yield _data(openai_error(ended, status_of(ended)))
        return
    finally:
        telling.close()
    for event in _chat_end(whole, with_usage):
        yield event


def _chat_end(told: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    about = _about(told)
    yield _data(_chunk(about, {}, told["choices"][0]["finish_reason"]))
    if with_usage:
        yield _data({**about, "choices": [], "usage": told.get("usage")})
    yield b"data: [DONE]\n\n"


def _about(told: dict[str, Any]) -> dict[str, Any]:
    about = {name: told[name] for name in ("id", "created", "model")}
    return {**about, "object": "chat.completion.chunk"}


def _ours(error: Exception) -> HeadraceError:
    if isinstance(error, HeadraceError):
        return error
    log().error("stream_failed", exc_info=error)
    return HeadraceError("something unexpected; the log says more")


def _chunk(about: dict[str, Any], delta: dict[str, str], finish: str | None) -> dict[str, Any]:
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
    kind: str, images: list[tuple[bytes, str, dict[str, Any]]], body: dict[str, Any], at: datetime
) -> Iterator[bytes]:
    """Yield images, each with its extension and facts, as ``kind`` names their events.

    No provider gives partial images, so each is only told when it is complete.
    """
    for image, extension, facts in images:
        about = {
            name: facts.get(name) or body.get(name) or "auto"
            for name in ("size", "quality", "background")
        }
        yield _event(
            {
                "type": f"{kind}.completed",
                **image_part(image),
                "created_at": int(at.timestamp()),
                "output_format": format_of(extension),
                **about,
                "usage": image_usage([facts]),
            }
        )


def _event(event: dict[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\n" + _data(event)


def _data(told: dict[str, Any]) -> bytes:
    data: bytes = _encode(told)
    return b"data: " + data + b"\n\n"
