"""The container contract: a file format into which metadata goes without touching its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

PIECE_BYTES = 1 << 20
XMP_BYTES_MAX = 1 << 20


class Window(Protocol):
    """Bytes of which any part can be read."""

    size: int

    def read(self, at: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``at``; fewer where the file ends."""
        ...


class BytesWindow:
    """A window on bytes in memory."""

    def __init__(self, body: bytes) -> None:
        self.size = len(body)
        self._body = body

    def read(self, at: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``at``."""
        return self._body[at : at + count]


class StreamWindow:
    """A window on an open file that can be sought; whoever opened it closes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = file.seek(0, 2)
        self._file = file

    def read(self, at: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``at``."""
        self._file.seek(at)
        return self._file.read(count)


Source = bytes | Path | Callable[[], Window]
"""A file: its bytes, where it lies, or what opens a window on it where it is far."""


@contextmanager
def window_on(source: Source) -> Iterator[Window]:
    """Open a window on a file while the block runs; raises ``OSError``."""
    if isinstance(source, bytes):
        yield BytesWindow(source)
    elif isinstance(source, Path):
        with source.open("rb") as file:
            yield StreamWindow(file)
    else:
        yield source()


class LeftError(Exception):
    """A file is left as it is; the message says why, in a few words."""


class SignedError(LeftError):
    """A file has a manifest (C2PA): changed, it would no longer be what was signed."""

    def __init__(self) -> None:
        super().__init__("it is signed (C2PA)")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file that stays: from ``start`` up to ``end``."""

    start: int
    end: int


@dataclass(frozen=True)
class Patch:
    """A file made of parts of another and of new bytes, in order."""

    parts: tuple[Span | bytes, ...]

    @property
    def size(self) -> int:
        """Return the size of the new file in bytes."""
        return sum(len(p) if isinstance(p, bytes) else p.end - p.start for p in self.parts)

    @property
    def added_bytes(self) -> int:
        """Return how many bytes of the new file are not the other's."""
        return sum(len(part) for part in self.parts if isinstance(part, bytes))

    def only_adds(self, size: int) -> bool:
        """Tell whether all of the other file, of ``size`` bytes, is in the new one, in order."""
        at = 0
        for part in self.parts:
            if isinstance(part, Span):
                if part.start != at:
                    return False
                at = part.end
        return at == size

    def cut(self, begin: int, end: int) -> Patch:
        """Return the patch that makes the new file's bytes from ``begin`` up to ``end`` alone.

        Parts that follow each other become one.
        """
        kept: list[Span | bytes] = []
        at = 0
        for part in self.parts:
            length = len(part) if isinstance(part, bytes) else part.end - part.start
            first, last = max(begin - at, 0), min(end - at, length)
            at += length
            if first >= last:
                continue
            if isinstance(part, bytes):
                _append(kept, part[first:last])
            else:
                _append(kept, Span(part.start + first, part.start + last))
        return Patch(tuple(kept))

    def pieces(self, window: Window) -> Iterator[bytes]:
        """Yield the new file, a MiB at a time at most."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            for at in range(part.start, part.end, PIECE_BYTES):
                yield window.read(at, min(PIECE_BYTES, part.end - at))


def _append(parts: list[Span | bytes], part: Span | bytes) -> None:
    """Append a part of a patch, or make the last one longer by it."""
    before = parts[-1] if parts else None
    if isinstance(before, bytes) and isinstance(part, bytes):
        parts[-1] = before + part
    elif isinstance(before, Span) and isinstance(part, Span) and before.end == part.start:
        parts[-1] = Span(before.start, part.end)
    else:
        parts.append(part)


def exactly(window: Window, at: int, count: int) -> bytes:
    """Return so many bytes; raises ``LeftError`` where the file ends before."""
    found = window.read(at, count)
    if len(found) < count:
        raise LeftError("the file is cut off")
    return found


@dataclass(frozen=True)
class Marked:
    """A file as it is to be handed out: the patch, and what it is of."""

    patch: Patch
    source: Source

    def pieces(self) -> Iterator[bytes]:
        """Yield the new file's bytes."""
        with window_on(self.source) as window:
            yield from self.patch.pieces(window)
