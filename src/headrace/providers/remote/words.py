"""Words of providers that can be written down: JSON may hold half a letter, and UTF-8 cannot.

A letter beyond the basic plane is two escapes in JSON. A server that cuts between them sends
one that is no letter; what else it says is to be read all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from headrace.outcome import OutcomeKind, failed
from headrace.providers.remote.http_calls import read_object

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


def mended(text: str) -> str:
    """Return a text with its halves put together to letters, those alone as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def lettered(body: bytes) -> bytes:
    """Return a body as UTF-8: bytes that are no letter become U+FFFD."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode(errors="replace").encode()
    return body


def encode_words(told: Any) -> bytes:
    """Return what a provider told as JSON, mended; raises ``CallFailed`` (lost_result).

    Lost is only what is nested deeper than can be written.
    """
    try:
        return _encoded(told)
    except RecursionError:
        raise failed(
            OutcomeKind.LOST_RESULT,
            "the answer is nested too deeply to be read",
            remedy="Ask again. If it happens often, ask for a simpler form.",
        ) from None


def decode_words(body: bytes, decode: Callable[[bytes], _T]) -> _T:
    """Return what ``decode`` reads of a body, an object mended where it holds half a letter.

    Bytes that are no letter at all become U+FFFD: the answer is paid. Raises as ``decode``
    does: ``msgspec.DecodeError``, ``RecursionError``.
    """
    try:
        return decode(body)
    except UnicodeDecodeError:
        return decode(lettered(body))
    except msgspec.DecodeError:
        told = read_object(body) if b"\\ud" in body.lower() else None
        if told is None:
            raise
        return decode(_encoded(told))


def _encoded(told: Any) -> bytes:
    try:
        return _encode(told)
    except UnicodeEncodeError:
        return _encode(json.loads(mended(json.dumps(told, ensure_ascii=False))))
