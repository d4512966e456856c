"""Cheap film bodies: one MP4 from the package, of which each request gets its own bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

FILM = Path(__file__).with_name("film.mp4")
_PIECE_BYTES = 64 * 1024


class FilmBody:
    """Playable MP4s of three seconds: a turning wheel, 24 frames of 320 x 180 pixels.

    Each ends in a box that players skip; it holds a request's digest, and what is missing
    to ``body_bytes``.
    """

    media_type = "video/mp4"
    width_px, height_px = 320, 180

    def __init__(self, body_bytes: int = 0) -> None:
        self._film = FILM.read_bytes()
        missing = max(0, body_bytes - len(self._film) - 8 - 64)
        # Seeded by the size, so that two processes make the same body.
        self._filling = random.Random(body_bytes).randbytes(missing)
        self.size_bytes = len(self._film) + 8 + 64 + missing

    def whole(self, digest: bytes) -> bytes:
        """Return the body of the request with this 32-byte digest."""
        return b"".join(self.parts(digest))

    def parts(self, digest: bytes) -> tuple[bytes, bytes, bytes]:
        """Return the body in three parts, of which only the small one is its own."""
        told = digest.hex().encode().ljust(64)[:64]
        size = 8 + len(told) + len(self._filling)
        return self._film, struct.pack(">I4s", size, b"free") + told, self._filling

    def pieces(self, digest: bytes) -> Iterator[bytes]:
        """Yield the body in pieces of at most 64 KiB."""
        for part in self.parts(digest):
            for at in range(0, len(part), _PIECE_BYTES):
                yield part[at : at + _PIECE_BYTES]
