"""Reads the bodies of requests: bounded, and JSON objects only."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request

from headrace.errors import InputError
from headrace.http.problems import TooLargeError

BODY_BYTES_MAX = 64 * 1024 * 1024


async def read_bytes(request: Request, bytes_max: int) -> bytes:
    """Return the body that was sent; raises ``TooLargeError``."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > bytes_max:
            raise TooLargeError(f"the body has more than {bytes_max:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(
    request: Request, bytes_max: int = BODY_BYTES_MAX, empty: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON object that was sent; raises ``InputError`` and ``TooLargeError``.

    ``empty`` is what no body at all stands for, where that may be.
    """
    body = await read_bytes(request, bytes_max)
    if not body and empty is not None:
        return empty
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError("the body is not a JSON object")
    return value


def only(body: dict[str, Any], known: dict[str, Any]) -> None:
    """Raise ``InputError`` for a key that is not known or has another type than it should."""
    from headrace.nearest import did_you_mean

    for name, value in body.items():
        if name not in known:
            raise InputError(f"unknown key {name[:80]!r}", remedy=did_you_mean(name, known))
        good = isinstance(value, known[name])
        if not good or (isinstance(value, bool) and known[name] is not bool):
            raise InputError(f"{name} has the wrong type: {type(value).__name__}")
