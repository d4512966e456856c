"""JPEG: an APP1 segment behind JFIF's and Exif's."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from headrace.container import LeftError, Patch, SignedError, Span, Window, exactly
from headrace.provenance import Origin
from headrace.xmp import merged, packet

SEGMENTS_MAX = 2_000
SEGMENT_BYTES_MAX = 65_533
TAIL_BYTES = 64 * 1024
_NAME = b"http://ns.adobe.com/xap/1.0/\x00"
_SCAN, _APP0, _APP1, _APP11 = 0xDA, 0xE0, 0xE1, 0xEB


def patch_of(window: Window, origin: Origin) -> Patch:
    """Return the patch; raises ``LeftError``."""
    behind, found = 2, []
    at = 2
    for kind, span, body in _segments(window):
        at = span.end
        if kind == _APP11 and body.startswith(b"JP"):
            raise SignedError
        if kind == _APP0 or (kind == _APP1 and body.startswith(b"Exif\x00")):
            behind = span.end
        if kind == _APP1 and body.startswith(_NAME):
            found.append((span, body[len(_NAME) :]))
    if b"\xff\xd9" not in window.read(max(at, window.size - TAIL_BYTES), TAIL_BYTES):
        raise LeftError("the file is cut off")
    if len(found) > 1:
        raise LeftError("it has two XMP packets")
    if not found:
        segment = _segment(packet(origin))
        return Patch((Span(0, behind), segment, Span(behind, window.size)))
    place, existing = found[0]
    segment = _segment(merged(existing, origin))
    return Patch((Span(0, place.start), segment, Span(place.end, window.size)))


def packet_in(window: Window) -> bytes | None:
    """Return the XMP packet of a file, ``None`` where it has none; raises ``LeftError``."""
    for kind, _, body in _segments(window):
        if kind == _APP1 and body.startswith(_NAME):
            return body[len(_NAME) :]
    return None


def _segments(window: Window) -> Iterator[tuple[int, Span, bytes]]:
    """Yield the segments before the first scan: kind, place and body."""
    at = 2
    for _ in range(SEGMENTS_MAX):
        mark, kind, length = struct.unpack(">BBH", exactly(window, at, 4))
        if mark != 0xFF or kind < 0xC0 or kind == 0xFF or 0xD0 <= kind <= 0xD9 or length < 2:
            raise LeftError("it is no sound JPEG")
        if kind == _SCAN:
            return
        span = Span(at, at + 2 + length)
        yield kind, span, exactly(window, at + 4, length - 2)
        at = span.end
    raise LeftError("it has too many segments")


def _segment(xmp: bytes) -> bytes:
    body = _NAME + xmp
    if len(body) > SEGMENT_BYTES_MAX:
        raise LeftError("its XMP is too large")
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
