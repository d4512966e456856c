"""PNG: an iTXt chunk ``XML:com.adobe.xmp`` behind the header."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from headrace.container import XMP_BYTES_MAX, LeftError, Patch, SignedError, Span, Window, exactly
from headrace.provenance import Origin
from headrace.xmp import merged, packet

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNKS_MAX = 100_000
_KEYWORD = b"XML:com.adobe.xmp\x00"
_HEADER_END = 33


def patch_of(window: Window, origin: Origin) -> Patch:
    """Return the patch; raises ``LeftError``."""
    there = None
    for kind, span in _chunks(window):
        if kind == b"caBX":
            raise SignedError
        if _is_packet(window, kind, span):
            if there is not None:
                raise LeftError("it has two XMP packets")
            there = span
    if there is None:
        chunk = _chunk(packet(origin))
        return Patch((Span(0, _HEADER_END), chunk, Span(_HEADER_END, window.size)))
    chunk = _chunk(merged(_read(window, there), origin))
    return Patch((Span(0, there.start), chunk, Span(there.end, window.size)))


def packet_in(window: Window) -> bytes | None:
    """Return the XMP packet of a file, ``None`` where it has none; raises ``LeftError``."""
    for kind, span in _chunks(window):
        if _is_packet(window, kind, span):
            return _read(window, span)
    return None


def _chunks(window: Window) -> Iterator[tuple[bytes, Span]]:
    """Yield the chunks up to the end of the picture: kind and place."""
    at = len(SIGNATURE)
    for number in range(CHUNKS_MAX):
        length, kind = struct.unpack(">I4s", exactly(window, at, 8))
        span = Span(at, at + 12 + length)
        if span.end > window.size or (number == 0) != (kind == b"IHDR"):
            raise LeftError("the file is cut off" if number else "it is no sound PNG")
        yield kind, span
        if kind == b"IEND":
            return
        at = span.end
    raise LeftError("it has too many chunks")


def _is_packet(window: Window, kind: bytes, span: Span) -> bool:
    return kind == b"iTXt" and window.read(span.start + 8, len(_KEYWORD)) == _KEYWORD


def _chunk(xmp: bytes) -> bytes:
    body = b"iTXt" + _KEYWORD + b"\x00\x00\x00\x00" + xmp
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _read(window: Window, chunk: Span) -> bytes:
    """Return the packet in an iTXt chunk."""
    if chunk.end - chunk.start > XMP_BYTES_MAX:
        raise LeftError("its XMP is too large")
    body = window.read(chunk.start + 8, chunk.end - chunk.start - 12)[len(_KEYWORD) :]
    is_packed, parts = body[:1] == b"\x01", body[2:].split(b"\x00", 2)
    if len(body) < 2 or len(parts) < 3:
        raise LeftError("its XMP cannot be read")
    if not is_packed:
        return parts[2]
    unpacking = zlib.decompressobj()
    try:
        xmp = unpacking.decompress(parts[2], XMP_BYTES_MAX)
    except zlib.error:
        raise LeftError("its XMP cannot be read") from None
    if not unpacking.eof:
        raise LeftError("its XMP is too large")
    return xmp
