"""Containers: the formats into which an origin can be written, known by their bytes."""

from __future__ import annotations

from typing import Protocol

from headrace.container import LeftError, Patch, Window
from headrace.containers import jpeg, mp4, png, webp
from headrace.provenance import Origin

__all__ = ["media_type_in", "packet_in", "patch_of"]


class _Container(Protocol):
    def patch_of(self, window: Window, origin: Origin) -> Patch: ...

    def packet_in(self, window: Window) -> bytes | None: ...


def patch_of(window: Window, origin: Origin) -> Patch:
    """Return how a file becomes one that tells its origin; raises ``LeftError`` where it cannot.

    Only headers are read. A file that is signed (C2PA) tells its origin itself, and would
    no longer be what was signed.
    """
    return _container_of(window)[1].patch_of(window, origin)


def packet_in(window: Window) -> bytes | None:
    """Return the XMP packet that a file has, ``None`` where it has none; raises ``LeftError``."""
    return _container_of(window)[1].packet_in(window)


def media_type_in(window: Window) -> str:
    """Return what kind of file it is; raises ``LeftError`` for one that is none of ours."""
    return _container_of(window)[0]


def _container_of(window: Window) -> tuple[str, _Container]:
    head = window.read(0, 12)
    if head.startswith(png.SIGNATURE):
        return "image/png", png
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", jpeg
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "image/webp", webp
    if head[4:8] == b"ftyp" and head[8:] not in (b"avif", b"heic", b"mif1", b"avis"):
        return "video/mp4", mp4
    raise LeftError("its format has no place for it")
