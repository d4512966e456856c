"""The sources of a call as bytes that go into its body, each known by its first ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.outcome import OutcomeKind, failed
from headrace.provider import Call
from headrace.providers.remote.media import HEAD_BYTES, media_type_of
from headrace.request import places_of

INLINE_BYTES_MAX = 64 * 1024 * 1024
"""All pictures of one call together; what an API takes is often less, and it says so."""


@dataclass(frozen=True, slots=True)
class Inlined:
    """One source: its media type, and its bytes (the JSON writer makes base64 of them)."""

    media_type: str
    body: bytes


async def inlined(call: Call, kinds: frozenset[str]) -> tuple[Inlined, ...]:
    """Return the sources of a call, in the order of its params; nothing is sent here.

    Raises ``CallFailed``: invalid for what is none of the ``kinds`` or too large, and
    whatever reading a source raises.
    """
    found, size = [], 0
    for name, digests in call.request.placed().items():
        for digest in digests:
            body = await call.source(digest)
            size += len(body)
            if size > INLINE_BYTES_MAX:
                raise failed(
                    OutcomeKind.INVALID,
                    f"the pictures of a call have more than {INLINE_BYTES_MAX:,} bytes together",
                    remedy="Put a resize stage before this one.",
                )
            media_type = media_type_of(body[:HEAD_BYTES])
            if media_type not in kinds:
                raise failed(
                    OutcomeKind.INVALID,
                    f"{name} is {media_type or 'no picture of a known kind'}",
                    remedy=f"This model takes {', '.join(sorted(kinds))}.",
                )
            found.append(Inlined(media_type, body))
    return tuple(found)


def is_source(value: Any) -> bool:
    """Tell whether a param is a source, or a list of such: its bytes are sent in its place."""
    return bool(places_of(value))


def sources_in(params: dict[str, Any]) -> int:
    """Return how many pictures go in with these params."""
    return sum(len(places_of(value)) for value in params.values())
