"""Whole answers as OpenAI's API streams them: they are written down before anybody sees them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from headrace.openai_answers import format_of, image_part, image_usage
from headrace.openai_responses import pieces, response_events

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_encode = msgspec.json.Encoder().encode


def chat_stream(told: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    """Yield a chat completion in chunks."""
    choice = told["choices"][0]
    about = {name: told[name] for name in ("id", "created", "model")}
    about["object"] = "chat.completion.chunk"
    role = {"role": "assistant"}
    for text in pieces(choice["message"]["content"]):
        yield _data(_chunk(about, {**role, "content": text}, None))
        role = {}
    yield _data(_chunk(about, {}, choice["finish_reason"]))
    if with_usage:
        yield _data({**about, "choices": [], "usage": told.get("usage")})
    yield b"data: [DONE]\n\n"


def _chunk(about: dict[str, Any], delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def response_stream(told: dict[str, Any]) -> Iterator[bytes]:
    """Yield a response as its events."""
    for event in response_events(told):
        yield _event(event)


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
