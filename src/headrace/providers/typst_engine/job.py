"""The words of rendering: a job that goes in and the picture that comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

Cell = str | int | float | bytes | list[str] | None


class Format(StrEnum):
    """What a render gives; the value is also the file extension."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"
    PDF = "pdf"

    @property
    def media_type(self) -> str:
        """Return the media type of the bytes."""
        return "application/pdf" if self is Format.PDF else f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One picture to make.

    ``data`` goes to the template as data, never as source. A photo parameter holds a
    path inside one of ``photo_folders``, or the image's bytes. ``scale`` 1 gives the
    template's own size, one pixel per point; ``quality`` is 1-100 for JPEG and WebP.
    ``photo_fallback`` draws the placeholder where a named photo is not there.
    """

    template: str
    data: Mapping[str, Cell]
    format: Format = Format.PNG
    scale: float = 1.0
    photo_folders: tuple[Path, ...] = ()
    photo_fallback: bool = False
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished picture; ``width_px`` and ``height_px`` of a PDF are its size in points."""

    body: bytes
    media_type: str
    width_px: int
    height_px: int
    warnings: tuple[str, ...] = ()
