"""WebP: an ``XMP `` chunk at the end, announced in the ``VP8X`` chunk, which is made if need be."""

from __future__ import annotations

import struct

from headrace.container import XMP_BYTES_MAX, LeftError, Patch, SignedError, Span, Window, exactly
from headrace.provenance import Origin
from headrace.xmp import merged, packet

CHUNKS_MAX = 20_000
_FLAG_XMP, _FLAG_ALPHA = 0x04, 0x10
_SIZE_MAX = 2**32 - 10


def patch_of(window: Window, origin: Origin) -> Patch:
    """Return the patch; raises ``LeftError``."""
    stop = _end(window)
    chunks = _chunks(window, stop)
    if b"C2PA" in [kind for kind, _, _ in chunks]:
        raise SignedError
    xmp = packet(origin)
    for kind, span, length in chunks:
        if kind == b"XMP ":
            xmp = merged(_read(window, span, length), origin)
    first_kind, first, _ = chunks[0]
    parts: list[Span | bytes] = [_header(window, first_kind, first)]
    kept = chunks[1:] if first_kind == b"VP8X" else chunks
    parts += [span for kind, span, _ in kept if kind != b"XMP "]
    parts.append(b"XMP " + struct.pack("<I", len(xmp)) + xmp + b"\x00" * (len(xmp) % 2))
    riff = 4 + Patch(tuple(parts)).size
    if riff > _SIZE_MAX:
        raise LeftError("it is too large")
    head = b"RIFF" + struct.pack("<I", riff) + b"WEBP"
    return Patch((head, *parts, Span(stop, window.size)))


def packet_in(window: Window) -> bytes | None:
    """Return the XMP packet of a file, ``None`` where it has none; raises ``LeftError``."""
    for kind, span, length in _chunks(window, _end(window)):
        if kind == b"XMP ":
            return _read(window, span, length)
    return None


def _read(window: Window, chunk: Span, length: int) -> bytes:
    if length > XMP_BYTES_MAX:
        raise LeftError("its XMP is too large")
    return window.read(chunk.start + 8, length)


def _end(window: Window) -> int:
    """Return where the picture ends, as its first bytes tell."""
    (size,) = struct.unpack("<I", exactly(window, 4, 4))
    end: int = 8 + size
    if end > window.size:
        raise LeftError("the file is cut off")
    return end


def _chunks(window: Window, stop: int) -> list[tuple[bytes, Span, int]]:
    """Return the chunks up to ``stop``: kind, place and the length of what is in it."""
    at, chunks = 12, list[tuple[bytes, Span, int]]()
    while at < stop and len(chunks) < CHUNKS_MAX:
        kind, length = struct.unpack("<4sI", exactly(window, at, 8))
        end = at + 8 + length + length % 2
        if end > stop:
            raise LeftError("it is no sound WebP")
        chunks.append((kind, Span(at, end), length))
        at = end
    kinds = [kind for kind, _, _ in chunks]
    if at < stop or not chunks or kinds.count(b"XMP ") > 1:
        raise LeftError("it is no sound WebP")
    return chunks


def _header(window: Window, kind: bytes, chunk: Span) -> bytes:
    """Return the ``VP8X`` chunk that announces XMP: the one that is there, or a new one."""
    start = exactly(window, chunk.start + 8, 10)
    if kind == b"VP8X":
        return b"VP8X" + struct.pack("<I", 10) + bytes([start[0] | _FLAG_XMP]) + start[1:]
    flags = _FLAG_XMP
    if kind == b"VP8L" and start[0] == 0x2F:
        (bits,) = struct.unpack("<I", start[1:5])
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _FLAG_ALPHA if bits >> 28 & 1 else 0
    elif kind == b"VP8 " and start[3:6] == b"\x9d\x01\x2a":
        width, height = (one & 0x3FFF for one in struct.unpack("<HH", start[6:10]))
    else:
        raise LeftError("it is no sound WebP")
    if not width or not height:
        raise LeftError("it is no sound WebP")
    sides: bytes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + sides
