"""Answers that call tools: how one is kept as bytes, and what it says when it is read again.

A text is kept as it is. An answer with calls is kept as a JSON object of its text and its calls in
OpenAI's words, under a media type of its own: whoever reads it knows that no model wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

MEDIA_TYPE = "application/json; profile=tool-calls"
"""Of an answer with calls; wherever JSON counts as a text, so does this."""

CALLS_MAX = 1000
EXTRA = "extra_content"
"""The key of a call under which stands what only its provider understands, and wants back."""

_OPAQUE = frozenset({"signature", "thought_signature", "data", "id"})
"""What stands for nothing that a person could read, in what a provider wants back."""
_ID_CHARS = 24
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said: ``content`` is ``None`` where it only calls, in OpenAI's words."""

    content: str | None
    calls: tuple[dict[str, Any], ...] = ()


def function_call(
    name: str, arguments: str, call_id: str, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a call in OpenAI's words; ``extra`` by the name of the provider that wants it back."""
    told = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {**told, EXTRA: extra} if extra else told


def made_up_id(*of: object) -> str:
    """Return the id of a call that came without one, the same for the same answer."""
    digest = hashlib.sha256("\0".join(str(one) for one in of).encode("utf-8", "replace"))
    return f"call_{digest.hexdigest()[:_ID_CHARS]}"


def kept(
    content: str | None, calls: Sequence[dict[str, Any]], *, is_json: bool
) -> tuple[str, bytes]:
    """Return the media type and the bytes of an answer; ``is_json``: its text is to be JSON."""
    if calls:
        return MEDIA_TYPE, _encode({"content": content or None, "tool_calls": [*calls]})
    text = (content or "").encode("utf-8", "replace")
    return "application/json" if is_json else "text/plain", text


def said_of(media_type: str, body: bytes) -> Said:
    """Return what kept bytes say: a text, or a text and calls."""
    found = _read(body) if media_type == MEDIA_TYPE else None
    return Said(body.decode("utf-8", "replace")) if found is None else found


def judged_text(media_type: str, body: bytes) -> str:
    """Return the words of kept bytes that rules look at.

    Of calls: their names, and all texts of their arguments with JSON's escapes undone, for a word
    can be hidden behind those.
    """
    said = said_of(media_type, body)
    found = [said.content or ""]
    for call in said.calls:
        arguments = call["function"]["arguments"]
        found += [call["function"]["name"], arguments]
        # What was cut off is no JSON: the words of its beginning are looked at as they are.
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            found += _texts(_decode(arguments))
        found += _texts(call.get(EXTRA), _OPAQUE)
    return "\n".join(one for one in found if one)


def _read(body: bytes) -> Said | None:
    try:
        told = _decode(body)
        calls = tuple(told["tool_calls"])
        for call in calls:
            call["function"]["name"] + call["function"]["arguments"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return None
    return Said(told.get("content"), calls)


def _texts(value: Any, without: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the texts of a JSON value, and the names in it, but not of keys ``without``."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            kept = {name: value for name, value in one.items() if name not in without}
            yield from kept
            left += kept.values()
        elif isinstance(one, list):
            left += one
