"""MP4: a ``uuid`` box at the end, so that no offset in the film moves."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from headrace.container import XMP_BYTES_MAX, LeftError, Patch, SignedError, Span, Window, exactly
from headrace.provenance import Origin
from headrace.xmp import merged, packet

BOXES_MAX = 100_000
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def patch_of(window: Window, origin: Origin) -> Patch:
    """Return the patch; raises ``LeftError``.

    A packet that is there becomes free space, for taking it out would move the film.
    """
    boxes = list(_boxes(window))
    if b"moov" not in {kind for kind, _, _ in boxes}:
        raise LeftError("the file is cut off")
    names = [name for _, _, name in boxes]
    if _C2PA in names:
        raise SignedError
    if names.count(_XMP) > 1:
        raise LeftError("it has two XMP packets")
    there = boxes[names.index(_XMP)][1] if _XMP in names else None
    last = boxes[-1]
    xmp = packet(origin)
    parts: list[Span | bytes] = []
    # A fragmented film is found by its index at the very end.
    end = last[1].start if last[0] == b"mfra" else window.size
    if there is None:
        parts = [Span(0, end)]
    else:
        xmp = merged(_read(window, there), origin)
        parts = [Span(0, there.start + 4), b"free", Span(there.start + 8, end)]
    box = struct.pack(">I4s", 24 + len(xmp), b"uuid") + _XMP + xmp
    return Patch((*parts, box, Span(end, window.size)))


def packet_in(window: Window) -> bytes | None:
    """Return the XMP packet of a file, ``None`` where it has none; raises ``LeftError``."""
    for _, span, name in _boxes(window):
        if name == _XMP:
            return _read(window, span)
    return None


def _read(window: Window, box: Span) -> bytes:
    """Return the packet in a box."""
    head = 16 if exactly(window, box.start, 4) == b"\x00\x00\x00\x01" else 8
    if box.end - box.start > XMP_BYTES_MAX:
        raise LeftError("its XMP is too large")
    body = window.read(box.start + head + 16, box.end - box.start - head - 16)
    return body.rstrip(b"\x00")


def _boxes(window: Window) -> Iterator[tuple[bytes, Span, bytes]]:
    """Yield the boxes of the file: kind, place, and for ``uuid`` boxes their 16-byte name."""
    at = 0
    for _ in range(BOXES_MAX):
        if at == window.size:
            return
        size, kind = struct.unpack(">I4s", exactly(window, at, 8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", exactly(window, at + 8, 8)), 16
        if size == 0:
            raise LeftError("its last box has no end")
        if size < head or at + size > window.size:
            raise LeftError("the file is cut off")
        name = window.read(at + head, 16) if kind == b"uuid" else b""
        yield kind, Span(at, at + size), name
        at += size
    raise LeftError("it has too many boxes")
