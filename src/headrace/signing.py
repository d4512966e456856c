"""Signs what models make, once, between its purchase and its settle.

A manifest holds a random name and a signature over every byte, so it cannot be made anew at
each download: the signed file is what is kept, and hashes, downloads and object storage are
of it. What cannot be signed is kept unsigned: it was paid for.
"""

from __future__ import annotations

import asyncio
import struct
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import IO, cast

from headrace.artifact import Artifact
from headrace.blob import READ_BYTES, Blobs
from headrace.clock import Clock
from headrace.container import LeftError, SignedError, StreamWindow
from headrace.containers import patch_of
from headrace.manifest import MEDIA_TYPES, Manifests, UnsignedError
from headrace.order import Order
from headrace.provenance import FOREIGN, SIGNED, UNSIGNED, Origin
from headrace.purchase import Bought
from headrace.store import erasure
from headrace.store.database import Database
from headrace.telemetry import log
from headrace.tracing import origin_of

AT_ONCE = 2
"""Files that are signed at a time in a process."""
FILE_BYTES_MAX = 2 * 1024**3
WHY_CHARS_MAX = 300
MEMORY_BYTES = 8 * 1024 * 1024
"""Larger files pass through temporary ones."""
UNSIGNED_STAYS = timedelta(days=1)
"""So long the bytes that came stay, after which they leave as those of nobody do."""


class Signing:
    """Signs the artifacts of a process; without ``manifests`` it leaves all as they are."""

    def __init__(
        self, database: Database, blobs: Blobs, clock: Clock, manifests: Manifests | None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._manifests = manifests
        self._places = asyncio.Semaphore(AT_ONCE)

    async def open(self) -> datetime | None:
        """Load the key, where there is one, try it, and return until when it is good.

        Raises ``ConfigError``.
        """
        if self._manifests is None:
            return None
        return await asyncio.to_thread(self._manifests.open, self._clock.now())

    async def signed(self, order: Order, bought: Bought, artifact: Artifact) -> Artifact:
        """Return what was bought as it is to be kept on: signed, or as it came.

        Where files are signed, the artifact's origin says so, or that it is not.
        """
        manifests = self._manifests
        if manifests is None:
            return artifact
        now = self._clock.now()
        origin = origin_of(order, bought.facts or {}, now)
        if not origin.source_type or artifact.media_type not in MEDIA_TYPES:
            return artifact
        try:
            async with self._places:
                made = await self._sign(manifests, artifact, origin, now)
        except SignedError:
            self.counts[FOREIGN] += 1
            return replace(artifact, origin=replace(origin, c2pa=FOREIGN))
        except Exception as error:  # broad: whatever happens to it, what was paid for is kept
            self.counts[UNSIGNED] += 1
            why = f"{type(error).__name__}: {error}"[:WHY_CHARS_MAX]
            log().warning("c2pa_unsigned", artifact=artifact.sha256.hex(), why=why)
            return replace(artifact, origin=replace(origin, c2pa=UNSIGNED))
        self.counts[SIGNED] += 1
        return replace(made, origin=replace(origin, c2pa=SIGNED))

    async def _sign(
        self, manifests: Manifests, artifact: Artifact, origin: Origin, now: datetime
    ) -> Artifact:
        if artifact.size_bytes > FILE_BYTES_MAX:
            raise UnsignedError(f"it has more than {FILE_BYTES_MAX:,} bytes")
        with ExitStack() as stack:
            source = stack.enter_context(self._temporary())
            await self._fetch(artifact, source)
            told, target = (stack.enter_context(self._temporary()) for _ in range(2))
            await self._blobs.in_thread(
                _sign, manifests, artifact.media_type, (source, told, target), origin, now
            )
            async with self._blobs.spool(artifact.media_type) as spool:
                await self._blobs.in_thread(target.seek, 0)
                while piece := await self._blobs.in_thread(target.read, READ_BYTES):
                    await spool.write(piece)
                made = await spool.commit()
        if artifact.body is None:
            async with self._database.transaction() as connection:
                await erasure.leave(connection, [artifact.sha256], now + UNSIGNED_STAYS)
        return made

    async def _fetch(self, artifact: Artifact, target: IO[bytes]) -> None:
        if artifact.body is not None:
            target.write(artifact.body)
            return
        async for piece in self._blobs.pieces(artifact.sha256):
            await self._blobs.in_thread(target.write, piece)

    def _temporary(self) -> IO[bytes]:
        self._blobs.spool_folder.mkdir(parents=True, exist_ok=True)
        folder = str(self._blobs.spool_folder)
        return cast(IO[bytes], tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=folder))


def _sign(
    manifests: Manifests,
    media_type: str,
    files: tuple[IO[bytes], IO[bytes], IO[bytes]],
    origin: Origin,
    now: datetime,
) -> None:
    """Write the first file with its origin into the second, and that, signed, into the third."""
    source, told, target = files
    window = StreamWindow(source)
    try:
        for piece in patch_of(window, origin).pieces(window):
            told.write(piece)
    except SignedError:
        raise
    except (LeftError, struct.error, ValueError):
        # Without room for an origin of ours, it may still have room for a manifest.
        told = source
    manifests.sign(media_type, told, target, origin, now)
