"""How large a picture a request asks for, where it says so in one of the ways that APIs have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_SIDES = re.compile(r"\s*(\d{1,6})\s*[xX×*]\s*(\d{1,6})\s*")
_MEGAPIXELS = re.compile(r"\s*(\d{1,4}(?:\.\d{1,4})?)\s*MP\s*", re.IGNORECASE)
_SIZE_KEYS = ("size", "image_size", "resolution", "dimensions", "output_size", "megapixels")
_INSIDE = (
    "input", "parameters", "params", "image_config", "imageConfig", "generationConfig",
    "generation_config",
)  # fmt: skip
_NAMED = {
    "1k": 1024 * 1024, "2k": 2048 * 2048, "4k": 4096 * 4096,
    "480p": 854 * 480, "720p": 1280 * 720, "1080p": 1920 * 1080, "1440p": 2560 * 1440,
    "2160p": 3840 * 2160,
    "square": 512 * 512, "square_hd": 1024 * 1024,
    "portrait_4_3": 768 * 1024, "landscape_4_3": 1024 * 768,
    "portrait_16_9": 576 * 1024, "landscape_16_9": 1024 * 576,
}  # fmt: skip
"""Names that Gemini, APIs of films and fal have for sizes, in pixels."""


def pixels_asked(params: Mapping[str, Any]) -> int | None:
    """Return the most pixels that ``params`` ask for, ``None`` where they name no size."""
    return max(_pixels(params), default=None)


def _pixels(params: Mapping[str, Any], depth: int = 0) -> Iterator[int]:
    sides = _side(params.get("width")), _side(params.get("height"))
    if sides[0] is not None and sides[1] is not None:
        yield sides[0] * sides[1]
    for key in _SIZE_KEYS:
        value = params.get(key)
        if isinstance(value, str):
            yield from _read(value)
        elif isinstance(value, Mapping) and depth < len(_INSIDE):
            yield from _pixels(value, len(_INSIDE))
    for key in _INSIDE:
        value = params.get(key)
        if isinstance(value, Mapping) and depth < 3:
            yield from _pixels(value, depth + 1)


def _read(text: str) -> Iterator[int]:
    sides, megapixels = _SIDES.fullmatch(text), _MEGAPIXELS.fullmatch(text)
    if sides is not None:
        yield int(sides[1]) * int(sides[2])
    elif megapixels is not None:
        yield int(float(megapixels[1]) * 1_000_000)
    elif text.strip().lower() in _NAMED:
        yield _NAMED[text.strip().lower()]


def _side(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        # Not a number, and too large for one, are no size.
        return int(value) if 0 <= value < 1e9 else None
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else None
    return value if isinstance(value, int) and value >= 0 else None
