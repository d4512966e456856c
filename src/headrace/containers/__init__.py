"""Containers: the formats into which an origin can be written, known by their bytes."""

from __future__ import annotations

from headrace.container import LeftError, Patch, Window
from headrace.containers import jpeg, mp4, png, webp
from headrace.provenance import Origin

__all__ = ["patch_of"]


def patch_of(window: Window, origin: Origin) -> Patch:
    """Return how a file becomes one that tells its origin; raises ``LeftError`` where it cannot.

    Only headers are read. A file that is signed (C2PA) tells its origin itself, and would
    no longer be what was signed.
    """
    head = window.read(0, 12)
    if head.startswith(png.SIGNATURE):
        return png.patch_of(window, origin)
    if head.startswith(b"\xff\xd8\xff"):
        return jpeg.patch_of(window, origin)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return webp.patch_of(window, origin)
    if head[4:8] == b"ftyp" and head[8:] not in (b"avif", b"heic", b"mif1", b"avis"):
        return mp4.patch_of(window, origin)
    raise LeftError("its format has no place for it")
