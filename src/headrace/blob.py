"""Blobs: immutable bytes under the name of their hash, durable when acknowledged.

All stores are reached through obstore. A local folder is the one exception on the way in:
obstore renames a finished file into place but does not fsync it, and an artifact is
acknowledged only when a power cut cannot take it back; so the local write is ours
(temporary file, fsync, rename, fsync of the folders) and everything else is obstore's.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, MemoryStore, from_url

from headrace.artifact import Artifact
from headrace.errors import ConfigError, NotFoundError, StorageError
from headrace.telemetry import crash_point

CACHE_CONTROL = "public, max-age=31536000, immutable"
SPOOL_BYTES_MAX = 10 * 1024**3
READ_BYTES = 1 << 20
_THREADS = 8
_HOPELESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)


def blob_key(sha256: bytes) -> str:
    """Return the key of a blob: ``sha256/ab/cd/abcd…``, spread so that no folder grows huge."""
    name = sha256.hex()
    return f"sha256/{name[:2]}/{name[2:4]}/{name}"


class Spool:
    """A temporary file that receives a body in pieces; nothing is visible before ``commit``."""

    def __init__(self, blobs: Blobs, media_type: str, bytes_max: int) -> None:
        self._blobs = blobs
        self._media_type = media_type
        self._bytes_max = bytes_max
        self._path = blobs.spool_folder / secrets.token_hex(12)
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``; raises ``StorageError`` past the cap or when the disk is full."""
        self._size_bytes += len(chunk)
        if self._size_bytes > self._bytes_max:
            raise StorageError(
                f"a body is larger than {self._bytes_max} bytes",
                retryable=False,
                remedy="Raise the cap if such a body is really wanted.",
            )
        await self._blobs.in_thread(self._append, chunk)

    def _append(self, chunk: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb")
        self._hash.update(chunk)
        self._file.write(chunk)

    async def commit(self) -> Artifact:
        """Make the bytes durable under their hash and return the artifact."""
        if self._file is None:
            await self._blobs.in_thread(self._append, b"")
        assert self._file is not None
        await self._blobs.in_thread(_close_durably, self._file)
        artifact = Artifact(self._hash.digest(), self._media_type, self._size_bytes)
        await self._blobs.adopt(self._path, artifact)
        return artifact

    async def discard(self) -> None:
        """Close and remove the temporary file if it is still there."""
        if self._file is not None and not self._file.closed:
            self._file.close()
        self._path.unlink(missing_ok=True)


class Blobs:
    """The blob store of a process; ``open_blobs`` makes it."""

    def __init__(self, store: Any, root: Path | None, spool_folder: Path) -> None:
        self._store = store
        self._root = root
        self.spool_folder = spool_folder
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blob")

    async def close(self) -> None:
        """Wait for the writes in progress."""
        await asyncio.to_thread(self._threads.shutdown)

    async def in_thread(self, work: Any, *args: Any) -> Any:
        """Run file work off the event loop; a failure of the disk becomes a ``StorageError``."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except OSError as error:
            raise _disk_error(error) from error

    async def put(self, body: bytes | Path, media_type: str) -> Artifact:
        """Keep a body (bytes, or a file that is copied) and return its artifact; repeatable."""
        if isinstance(body, Path):
            async with self.spool(media_type) as spool:
                with await self.in_thread(body.open, "rb") as file:
                    while chunk := await self.in_thread(file.read, READ_BYTES):
                        await spool.write(chunk)
                return await spool.commit()
        artifact = Artifact(hashlib.sha256(body).digest(), media_type, len(body))
        if self._root is not None:
            await self.in_thread(_write_durably, self._root, self.spool_folder, artifact, body)
        else:
            await self._upload(artifact, body)
        return artifact

    @asynccontextmanager
    async def spool(
        self, media_type: str, bytes_max: int = SPOOL_BYTES_MAX
    ) -> AsyncIterator[Spool]:
        """Open a place for a body that arrives in pieces; not committed, it is discarded."""
        spool = Spool(self, media_type, bytes_max)
        try:
            yield spool
        finally:
            await spool.discard()

    async def adopt(self, path: Path, artifact: Artifact) -> None:
        """Take over a finished, fsynced temporary file under the artifact's name."""
        if self._root is not None:
            await self.in_thread(_move_durably, self._root, path, artifact)
        else:
            await self._upload(artifact, path)

    async def _upload(self, artifact: Artifact, body: bytes | Path) -> None:
        attributes = {"Content-Type": artifact.media_type, "Cache-Control": CACHE_CONTROL}
        if isinstance(self._store, MemoryStore):
            attributes = {}
        try:
            await obstore.put_async(
                self._store,
                blob_key(artifact.sha256),
                body,
                attributes=attributes or None,
                mode="create" if isinstance(body, bytes) else None,
            )
        except AlreadyExistsError:
            return  # the same bytes by their name
        except BaseError as error:
            hopeless = isinstance(error, PermissionDeniedError | UnauthenticatedError)
            raise StorageError(
                f"the object store refused a blob: {error}", retryable=not hopeless
            ) from error

    async def read(self, sha256: bytes) -> bytes:
        """Return a blob's bytes, verified; raises ``NotFoundError`` and ``StorageError``."""
        pieces = [piece async for piece in self.pieces(sha256)]
        body = b"".join(pieces)
        if hashlib.sha256(body).digest() != sha256:
            raise StorageError(
                f"blob {sha256.hex()} does not have its hash",
                retryable=False,
                remedy="The storage is damaged; run the item again with --cache refresh.",
            )
        return body

    async def pieces(self, sha256: bytes) -> AsyncIterator[bytes]:
        """Yield a blob's bytes in pieces of about a MiB, not verified."""
        try:
            found = await obstore.get_async(self._store, blob_key(sha256))
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"blob {sha256.hex()} is not in the store",
                remedy="Was the blob folder moved or pruned? Run again with --cache refresh.",
            ) from error
        except (BaseError, OSError) as error:
            raise StorageError(f"blob {sha256.hex()} cannot be read: {error}") from error

    def path(self, sha256: bytes) -> Path | None:
        """Return the blob's file where the store is a local folder and has it."""
        if self._root is None:
            return None
        path = self._root / blob_key(sha256)
        return path if path.is_file() else None

    async def exists(self, sha256: bytes) -> bool:
        """Tell whether the blob is in the store."""
        try:
            await obstore.head_async(self._store, blob_key(sha256))
        except FileNotFoundError:
            return False
        except BaseError as error:
            raise StorageError(f"the store cannot be asked: {error}") from error
        return True

    async def delete(self, sha256: bytes) -> None:
        """Remove a blob if it is there."""
        try:
            await obstore.delete_async(self._store, blob_key(sha256))
        except FileNotFoundError:
            return
        except BaseError as error:
            raise StorageError(f"a blob cannot be removed: {error}") from error

    def sweep(self, older_than_s: float, now_s: float) -> int:
        """Remove temporary files that a crash left behind; returns how many.

        ``now_s`` is the wall time in seconds; younger files may still be written.
        """
        removed = 0
        if self.spool_folder.is_dir():
            for path in self.spool_folder.iterdir():
                if now_s - path.stat().st_mtime > older_than_s:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed


async def open_blobs(url: str, spool_folder: Path | None = None) -> Blobs:
    """Open the store at ``url``: a folder, ``file://``, ``s3://``, ``gs://``, ``az://``, ``memory://``.

    Raises ``ConfigError`` for an address that is none, ``StorageError`` for a folder
    that cannot be written.
    """
    if url.startswith("memory://"):
        return Blobs(MemoryStore(), None, spool_folder or Path(".headrace") / "spool")
    if "://" not in url or url.startswith("file://"):
        root = await asyncio.to_thread(_make_root, url.removeprefix("file://"))
        return Blobs(LocalStore(root), root, root / "tmp")
    try:
        store = from_url(url)
    except (BaseError, ValueError) as error:
        raise ConfigError(
            f"{url!r} is not the address of a blob store: {error}",
            place="blob_url",
            remedy="Use a folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.",
        ) from error
    return Blobs(store, None, spool_folder or Path(".headrace") / "spool")


def _make_root(name: str) -> Path:
    root = Path(name).absolute()
    try:
        (root / "tmp").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _disk_error(error) from error
    return root


def _close_durably(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _write_durably(root: Path, temporary: Path, artifact: Artifact, body: bytes) -> None:
    target = root / blob_key(artifact.sha256)
    if _is_there(target, artifact):
        return
    temporary.mkdir(parents=True, exist_ok=True)
    path = temporary / secrets.token_hex(12)
    try:
        with path.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        crash_point("blob-before-rename")
        _place(root, path, target)
    finally:
        path.unlink(missing_ok=True)


def _move_durably(root: Path, path: Path, artifact: Artifact) -> None:
    target = root / blob_key(artifact.sha256)
    if not _is_there(target, artifact):
        crash_point("blob-before-rename")
        _place(root, path, target)


def _is_there(target: Path, artifact: Artifact) -> bool:
    try:
        return target.stat().st_size == artifact.size_bytes
    except FileNotFoundError:
        return False


def _place(root: Path, path: Path, target: Path) -> None:
    """Rename into place; new folders and the name itself are fsynced, outermost first."""
    fresh: list[Path] = []
    folder = target.parent
    while not folder.exists() and folder != root:
        fresh.append(folder)
        folder = folder.parent
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    for made in (folder, *reversed(fresh)):
        handle = os.open(made, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _disk_error(error: OSError) -> StorageError:
    place = str(error.filename or "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            "the disk is full", place=place, remedy="Free some space; the work goes on by itself."
        )
    return StorageError(
        f"the disk failed: {error.strerror or error}",
        place=place,
        remedy="Check that the folder is writable and the disk healthy.",
        retryable=error.errno not in _HOPELESS,
    )
