"""What successful calls give: pictures made once, texts that quote the prompt, JSON to order."""

from __future__ import annotations

import base64
import math
import random
import struct
import zlib
from functools import lru_cache
from typing import Any

import msgspec

from headrace.film_body import FilmBody
from headrace.made_up import made_up

_WORDS = ("light", "water", "mill", "stone", "wheel", "valley", "timber", "iron", "river", "slope")
_SENTENCE = 12
QUOTED_CHARS = 120
CHARS_PER_TOKEN = 4
WORDS = 4
"""In one piece of a text that is told in pieces."""


class Pictures:
    """PNGs of about ``size_bytes``: noise that does not compress, built once.

    Each differs by a text chunk with its number. In base64 only that head is made anew,
    because it ends on a multiple of three bytes.
    """

    def __init__(self, size_bytes: int, seed: int) -> None:
        side = max(16, round((size_bytes / 3) ** 0.5))
        noise = random.Random(seed).randbytes(side * side * 3)
        rows = b"".join(b"\0" + noise[at : at + side * 3] for at in range(0, len(noise), side * 3))
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        self.side_px = side
        self._start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
        self._rest = _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
        self._rest_base64 = base64.b64encode(self._rest)

    def png(self, number: int) -> tuple[bytes, bytes]:
        """Return the picture of a call in two pieces."""
        return self._head(number), self._rest

    def base64(self, number: int) -> tuple[bytes, bytes]:
        """Return the picture of a call as base64 in two pieces."""
        return base64.b64encode(self._head(number)), self._rest_base64

    def _head(self, number: int) -> bytes:
        told = b"Comment\0call %020d" % number
        room = len(self._start) + len(told) + 12
        return self._start + _chunk(b"tEXt", told + b" " * (-room % 3))


class Films:
    """MP4s of three seconds, or larger to order, each with the number of its call."""

    def __init__(self, size_bytes: int) -> None:
        self._body = FilmBody(size_bytes)

    def mp4(self, number: int) -> tuple[bytes, ...]:
        """Return the film of a call in three pieces."""
        return self._body.parts(number.to_bytes(32, "big"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def text(prompt: str, tokens: int) -> str:
    """Return an answer of about ``tokens`` tokens that quotes the beginning of the prompt."""
    return f"Simulated answer to “{prompt[:QUOTED_CHARS]}”: {_filling(tokens)}"


def pieces_of(said: str) -> list[str]:
    """Return a text in the pieces in which it is told: a few words each, with their spaces."""
    words = said.split(" ")
    return [" " * bool(at) + " ".join(words[at : at + WORDS]) for at in range(0, len(words), WORDS)]


def tokens_of(prompt: str) -> int:
    """Return about how many tokens a prompt has: one at the least."""
    return max(1, math.ceil(len(prompt) / CHARS_PER_TOKEN))


def json_text(schema: Any, number: int) -> str:
    """Return JSON that fits a schema, with the number of its call in its texts."""
    return msgspec.json.encode(made_up(schema, f"simulated-{number}")).decode()


@lru_cache(maxsize=64)
def _filling(tokens: int) -> str:
    words = [_WORDS[at * 3 % len(_WORDS)] for at in range(max(1, tokens))]
    sentences = [words[at : at + _SENTENCE] for at in range(0, len(words), _SENTENCE)]
    return " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)
