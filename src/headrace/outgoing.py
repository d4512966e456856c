"""Artifacts as they go out: with their origin in them, whole or in part, wherever they rest.

What is kept stays as it is, under its hash. The same item gives the same file each time, so
that a download may be asked for in parts, and be gone on with.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.container import LeftError, Patch, Source, Span
from headrace.imprinting import origin_to_tell, planned
from headrace.provenance import Origin
from headrace.reading import Reading

PLANS_MAX, PLANS_BYTES_MAX = 16_384, 16 * 1024 * 1024
"""So many plans are remembered, and so much of what they add: a page of all pictures of a large
batch is asked for in turn, and a memory that is smaller than that would never help."""
PLAN_BYTES_MAX = 16 * 1024
"""What a plan that is remembered may add to its file: those of large packets are made anew."""

PAGE_BYTES = 256 * 1024
PAGES_HELD = 4
PAGES_READ_MAX = 400


class PagedWindow:
    """A window on a far file, read in pages; raises ``LeftError`` where it takes very many.

    What is as large as a page is read as it is asked for.
    """

    def __init__(self, size: int, read_range: Callable[[int, int], bytes]) -> None:
        self.size = size
        self._read_range = read_range
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._read = 0

    def read(self, at: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``at``; fewer where the file ends."""
        end = min(at + count, self.size)
        if end - at >= PAGE_BYTES:
            return self._read_range(at, end)
        found = bytearray()
        while at < end:
            number = at // PAGE_BYTES
            begin = at - number * PAGE_BYTES
            piece = self._page(number)[begin : begin + end - at]
            if not piece:
                raise LeftError("it cannot be read")
            found += piece
            at += len(piece)
        return bytes(found)

    def _page(self, number: int) -> bytes:
        if number not in self._pages:
            self._read += 1
            if self._read > PAGES_READ_MAX:
                raise LeftError("its parts are too many to be read from afar")
            begin = number * PAGE_BYTES
            self._pages[number] = self._read_range(begin, min(begin + PAGE_BYTES, self.size))
            if len(self._pages) > PAGES_HELD:
                self._pages.popitem(last=False)
        return self._pages[number]


def source_of(blobs: Blobs, artifact: Artifact) -> Source:
    """Return what an artifact's file is read from: itself where it lies here, or else its pages."""
    path = blobs.path(artifact.sha256)
    read_range = partial(blobs.read_range, artifact.sha256)
    return partial(PagedWindow, artifact.size_bytes, read_range) if path is None else path


@dataclass(frozen=True)
class Outgoing:
    """An artifact as it goes out.

    ``name`` (hex) is another for other bytes: the artifact's SHA-256 where it goes out as it
    is kept. ``patch`` makes the file of what is kept, ``body`` is that, where it is small.
    """

    artifact: Artifact
    name: str
    patch: Patch
    body: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """Return the size of the file in bytes."""
        return self.patch.size


class OutgoingFiles:
    """Makes artifacts ready to go out; how is remembered for the latest."""

    def __init__(self, reading: Reading, blobs: Blobs) -> None:
        self._reading = reading
        self._blobs = blobs
        self._plans: OrderedDict[tuple[bytes, Origin], Patch | None] = OrderedDict()
        self._plans_bytes = 0

    async def ready(self, artifact: Artifact, *, as_kept: bool = False) -> Outgoing:
        """Return an artifact as it goes out; ``as_kept`` without its origin.

        What a model had no part in, and what cannot take an origin, goes out as it is kept.
        Only headers are read. Raises ``StorageError``, and ``NotFoundError`` where the
        bytes are gone and were looked at.
        """
        body = await self._reading.inline(artifact)
        origin = None if as_kept else origin_to_tell(artifact)
        patch = None if origin is None else await self._plan(artifact, origin, body)
        if patch is None:
            whole = Patch((Span(0, artifact.size_bytes),))
            return Outgoing(artifact, artifact.sha256.hex(), whole, body)
        return Outgoing(artifact, _name(artifact.sha256, patch), patch, body)

    async def begun(
        self, outgoing: Outgoing, span: tuple[int, int] | None = None
    ) -> AsyncIterator[bytes]:
        """Return the file's bytes as ``pieces`` gives them, once the first have come.

        So what is gone is an error before anything was sent: ``NotFoundError``, ``StorageError``.
        """
        pieces = self.pieces(outgoing, span)
        # What is kept is the first piece, or stands behind one that was added.
        ahead = [await anext(pieces, b"") for _ in range(2)]

        async def whole() -> AsyncIterator[bytes]:
            for piece in ahead:
                yield piece
            async for piece in pieces:
                yield piece

        return whole()

    async def part(self, outgoing: Outgoing, begin: int, end: int) -> bytes:
        """Return the file's bytes from ``begin`` until before ``end``, in one go.

        Raises ``NotFoundError`` and ``StorageError``.
        """
        found = []
        for part in outgoing.patch.cut(begin, end).parts:
            if isinstance(part, bytes):
                found.append(part)
            elif outgoing.body is not None:
                found.append(outgoing.body[part.start : part.end])
            else:
                sha256 = outgoing.artifact.sha256
                found.append(await self._blobs.some(sha256, part.start, part.end))
        return found[0] if len(found) == 1 else b"".join(found)

    async def pieces(
        self, outgoing: Outgoing, span: tuple[int, int] | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the file's bytes, those in ``span`` alone where it is set, in flat memory.

        Raises ``NotFoundError`` and ``StorageError``.
        """
        begin, end = span or (0, outgoing.size_bytes)
        for part in outgoing.patch.cut(begin, end).parts:
            if isinstance(part, bytes):
                yield part
            elif outgoing.body is not None:
                yield outgoing.body[part.start : part.end]
            else:
                wanted = (part.start, part.end)
                async for piece in self._blobs.pieces(outgoing.artifact.sha256, wanted):
                    yield piece

    async def _plan(self, artifact: Artifact, origin: Origin, body: bytes | None) -> Patch | None:
        key = artifact.sha256, origin
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        try:
            patch = await asyncio.to_thread(self._planned, artifact, origin, body)
        except LeftError:
            patch = None
        if key not in self._plans and _added(patch) <= PLAN_BYTES_MAX:
            self._plans[key] = patch
            self._plans_bytes += _added(patch)
            while len(self._plans) > PLANS_MAX or self._plans_bytes > PLANS_BYTES_MAX:
                self._plans_bytes -= _added(self._plans.popitem(last=False)[1])
        return patch

    def _planned(self, artifact: Artifact, origin: Origin, body: bytes | None) -> Patch:
        return planned(source_of(self._blobs, artifact) if body is None else body, origin)


def _added(patch: Patch | None) -> int:
    return 0 if patch is None else patch.added_bytes


def _name(sha256: bytes, patch: Patch) -> str:
    digest = hashlib.sha256(sha256)
    for part in patch.parts:
        if isinstance(part, bytes):
            digest.update(b"bytes %d\n" % len(part) + part)
        else:
            digest.update(b"span %d %d\n" % (part.start, part.end))
    return digest.hexdigest()
