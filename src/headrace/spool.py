"""A spool: a temporary file that receives a body in pieces while its hash and length are taken."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from headrace.artifact import Artifact
from headrace.durable import sync_file, try_lock
from headrace.errors import StorageError
from headrace.outbox import Room

GATHERED_BYTES = 128 * 1024
"""Pieces are gathered to so much: each writing is a way to a thread and back."""
HELD = ".held"
"""How the name of a file ends whose process holds its lock until it is done with it."""

InThread = Callable[..., Awaitable[Any]]
Adopt = Callable[[Path, Artifact], Awaitable[None]]


class Spool:
    """A temporary file in ``folder``; nothing is visible before ``commit``.

    ``in_thread`` runs file work, ``adopt`` takes over the finished, fsynced file. With a
    ``room``, bytes are written as there is room for them in it.
    """

    def __init__(
        self,
        folder: Path,
        media_type: str,
        bytes_max: int,
        in_thread: InThread,
        adopt: Adopt,
        room: Room | None = None,
    ) -> None:
        self._media_type = media_type
        self._bytes_max = bytes_max
        self._in_thread = in_thread
        self._adopt = adopt
        self._room = room
        self._path = folder / secrets.token_hex(12)
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self._gathered = bytearray()
        self._size_bytes = 0
        self._counted_bytes = 0

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``, with what was gathered before it once that is enough.

        Raises ``StorageError`` past the cap, and when the disk is full: perhaps only ``commit``.
        """
        if self._size_bytes + len(chunk) > self._bytes_max:
            raise StorageError(
                f"a body is larger than {self._bytes_max} bytes",
                retryable=False,
                remedy="Raise the cap if such a body is really wanted.",
            )
        if self._room is not None:
            await self._room.grow(len(chunk))
            self._counted_bytes += len(chunk)
        self._size_bytes += len(chunk)
        self._gathered += chunk
        if len(self._gathered) >= GATHERED_BYTES:
            gathered, self._gathered = self._gathered, bytearray()
            await self._in_thread(self._append, gathered)

    def _append(self, chunk: bytes | bytearray) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb")
            if try_lock(self._file):
                # Only now: who finds that name without a lock knows that its process has died.
                self._path = self._path.rename(self._path.with_suffix(HELD))
        self._hash.update(chunk)
        self._file.write(chunk)

    async def commit(self) -> Artifact:
        """Make the bytes durable under their hash and return the artifact."""
        await self._in_thread(self._end)
        artifact = Artifact(self._hash.digest(), self._media_type, self._size_bytes)
        # Open, and so locked, until it has its name.
        await self._adopt(self._path, artifact)
        if self._room is not None:
            self._room.kept(artifact.sha256, artifact.size_bytes)
            self._counted_bytes = 0
        return artifact

    def _end(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        self._append(gathered)
        assert self._file is not None  # the last chunk, also an empty one, opened it
        sync_file(self._file)

    async def discard(self) -> None:
        """Close the temporary file, and remove it if it is still there."""
        await self._in_thread(self._remove)
        if self._room is not None and self._counted_bytes:
            self._room.give_back(self._counted_bytes)
            self._counted_bytes = 0

    def _remove(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk fails again on close; the file goes anyway
                self._file.close()
        self._path.unlink(missing_ok=True)


def is_left(path: Path) -> bool:
    """Tell whether the process that was writing a file is there no more."""
    if path.suffix != HELD:
        return False
    try:
        with path.open("rb") as file:
            return try_lock(file)
    except OSError:
        return False  # done with meanwhile, or another user's


def finish(file: IO[bytes]) -> None:
    """Wait until a file's bytes are on the disk, and close it."""
    sync_file(file)
    file.close()
