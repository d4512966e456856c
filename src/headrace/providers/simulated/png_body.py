"""Cheap PNG bodies: one picture built once, of which each request gets its own coloring."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SHADES = 16
_PIECE_BYTES = 64 * 1024


class PngBody:
    """Valid PNGs of one size in pixels and, if asked for, in bytes.

    The pixels are indices into a palette of 16 colors, compressed once; a request's
    digest sets the palette and a text chunk, so that every request has its own bytes
    at the cost of two small checksums. Bytes that do not compress fill the body up to
    ``body_bytes`` in a private chunk that decoders skip.
    """

    media_type = "image/png"

    def __init__(self, width_px: int, height_px: int, body_bytes: int = 0) -> None:
        self.width_px, self.height_px = width_px, height_px
        header = struct.pack(">IIBBBBB", width_px, height_px, 8, 3, 0, 0, 0)
        self._head = _SIGNATURE + _chunk(b"IHDR", header)
        self._tail = _chunk(b"IDAT", _pixels(width_px, height_px)) + _chunk(b"IEND", b"")
        own = len(self._own(bytes(32)))
        missing = body_bytes - len(self._head) - own - len(self._tail) - 12
        if missing > 0:
            # Seeded by the size, so that two processes make the same body.
            filling = random.Random(body_bytes).randbytes(missing)
            self._tail = _chunk(b"hrPd", filling) + self._tail
        self.size_bytes = len(self._head) + own + len(self._tail)

    def whole(self, digest: bytes) -> bytes:
        """Return the body of the request with this 32-byte digest."""
        return b"".join((self._head, self._own(digest), self._tail))

    def pieces(self, digest: bytes) -> Iterator[bytes]:
        """Yield the body in pieces of at most 64 KiB."""
        yield self._head + self._own(digest)
        for at in range(0, len(self._tail), _PIECE_BYTES):
            yield self._tail[at : at + _PIECE_BYTES]

    def _own(self, digest: bytes) -> bytes:
        dark, light = digest[:3], bytes(255 - value // 3 for value in digest[3:6])
        palette = bytes(
            (dark[band] * (_SHADES - 1 - shade) // 2 + light[band] * shade) // (_SHADES - 1)
            for shade in range(_SHADES)
            for band in range(3)
        )
        text = b"Request\0" + digest.hex().encode()
        return _chunk(b"PLTE", palette) + _chunk(b"tEXt", text)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", _crc(kind, data))))


def _crc(kind: bytes, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(kind))


def _pixels(width_px: int, height_px: int) -> bytes:
    """Return compressed rows of a diagonal gradient, built from one ramp shared by all rows."""
    length = width_px + height_px
    ramp = bytes(at * _SHADES // length for at in range(length))
    packer = zlib.compressobj(6)
    rows = (packer.compress(b"\0" + ramp[row : row + width_px]) for row in range(height_px))
    return b"".join((*rows, packer.flush()))
