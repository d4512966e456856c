"""Files of tenants: kept, found, listed, read in pieces, and removed with their bytes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.clock import Clock
from headrace.errors import NotFoundError, StorageError
from headrace.identity import new_uuid, read_id, show_id
from headrace.store import erasure, files
from headrace.store.database import Database
from headrace.store.files import File, Page

PREFIX = "file-"
NAME_CHARS_MAX = 255
ASIDE = timedelta(hours=1)
"""So long bytes that nobody has lie aside before they are removed."""


def show_file_id(file_id: UUID) -> str:
    """Return the public form of a file's id."""
    return show_id(PREFIX, file_id)


def read_file_id(text: str) -> UUID:
    """Return the id behind its public form; raises ``NotFoundError`` when it is not one."""
    return read_id(PREFIX, text, "the id of a file")


def safe_name(text: str) -> str:
    """Return the name of a file as it may be kept and shown: no folders, no control characters."""
    last = PurePosixPath(text.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable())[:NAME_CHARS_MAX] or "unnamed"


class Files:
    """The files of all tenants; whoever asks names the tenant, and others' are not there."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def new(
        self, tenant_id: str, name: str, purpose: str, artifact: Artifact, ends_after_s: int | None
    ) -> File:
        """Return a file to be kept, of bytes that are in the blob store."""
        now = self._clock.now()
        ends = None if ends_after_s is None else now + timedelta(seconds=ends_after_s)
        return File(
            new_uuid(now), tenant_id, safe_name(name), purpose,
            artifact.sha256, artifact.size_bytes, now, ends,
        )  # fmt: skip

    async def keep(self, connection: Any, file: File) -> None:
        """Write a file down in the caller's transaction; raises ``StorageError``.

        The same bytes may have been another file's that was removed just now.
        """
        await files.lock(connection, file.sha256)
        if not await self._blobs.exists(file.sha256):
            raise StorageError(f"the bytes of {file.name!r} are gone", remedy="Send them again.")
        await files.insert(connection, file)

    async def add(self, file: File) -> File:
        """Keep a file for good; raises ``StorageError``."""
        async with self._database.transaction() as connection:
            await self.keep(connection, file)
        return file

    async def find(self, tenant_id: str, file_id: str) -> File:
        """Return a tenant's file; raises ``NotFoundError``."""
        known = read_file_id(file_id)
        async with self._database.acquire() as connection:
            found = await files.find(connection, tenant_id, known, self._clock.now())
        if found is None:
            raise NotFoundError(f"there is no file {file_id}")
        return found

    async def named(
        self, tenant_id: str, ids: list[UUID], digests: list[bytes], lasts_s: float = 0.0
    ) -> list[File]:
        """Return a tenant's files with these ids or hashes that last ``lasts_s`` at least."""
        until = self._clock.now() + timedelta(seconds=lasts_s)
        async with self._database.acquire() as connection:
            return await files.named(connection, tenant_id, ids, digests, until)

    async def listed(self, tenant_id: str, page: Page) -> list[File]:
        """Return a page of a tenant's files."""
        async with self._database.acquire() as connection:
            return await files.listed(connection, tenant_id, page, self._clock.now())

    def pieces(self, file: File) -> AsyncIterator[bytes]:
        """Yield a file's bytes in pieces; raises ``NotFoundError`` and ``StorageError``."""
        return self._blobs.pieces(file.sha256)

    @asynccontextmanager
    async def on_disk(self, file: File) -> AsyncIterator[Path]:
        """Have a file's bytes under a path while the block runs, a copy if need be."""
        path = self._blobs.path(file.sha256)
        if path is not None:
            yield path
            return
        path = self._blobs.spool_folder / secrets.token_hex(12)
        work = self._blobs.in_thread
        try:
            await work(lambda: path.parent.mkdir(parents=True, exist_ok=True))
            with await work(path.open, "xb") as copy:
                async for piece in self.pieces(file):
                    await work(copy.write, piece)
            yield path
        finally:
            await work(lambda: path.unlink(missing_ok=True))

    async def remove(self, tenant_id: str, file_id: UUID) -> bool:
        """Remove a tenant's file, and its bytes unless they are somebody else's too."""
        async with self._database.transaction() as connection:
            sha256 = await files.delete(connection, tenant_id, file_id)
            if sha256 is None:
                return False
            await files.lock(connection, sha256)
            if not await files.is_used(connection, sha256):
                # Set aside, not deleted: somebody may be about to settle with the same bytes.
                await self._blobs.set_aside(sha256)
                await erasure.leave(connection, [sha256], self._clock.now() + ASIDE)
        return True

    async def sweep(self) -> int:
        """Remove some files whose time is over; returns how many."""
        async with self._database.acquire() as connection:
            over = await files.expired(connection, self._clock.now())
        for tenant_id, file_id in over:
            await self.remove(tenant_id, file_id)
        return len(over)
