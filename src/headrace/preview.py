"""A picture as it is before it is whole: shown to who waits for it, and kept nowhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

PREVIEW_BYTES_MAX = 8 * 1024 * 1024
"""A larger one is not shown: each waits in memory for who is slow."""


@dataclass(frozen=True, slots=True)
class Preview:
    """One state of a picture that is being made; ``index`` counts them from 0.

    ``about`` is what its provider tells of it: size, quality, background.
    """

    index: int
    media_type: str
    body: bytes
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Previews:
    """How many previews of a picture are wanted, and who is to be shown each as it comes."""

    count: int
    show: Callable[[Preview], Awaitable[None]]
