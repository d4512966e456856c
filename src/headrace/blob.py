"""Blobs: immutable bytes under the name of their hash, durable when acknowledged.

All stores are reached through obstore. A local folder is the one exception on the way in:
obstore renames a finished file into place but does not fsync it, and an artifact is
acknowledged only when a power cut cannot take it back; so the local write is ours
(temporary file, fsync, rename, fsync of the folders) and everything else is obstore's.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, from_url

from headrace.artifact import Artifact
from headrace.blob_keys import (
    aside_key,
    blob_key,
    gone_error,
    read_range,
    signed_url,
    some,
    store_error,
)
from headrace.durable import DurableTree, disk_error, make_folder, sync_file, sync_folder
from headrace.errors import ConfigError, NotFoundError, StorageError
from headrace.telemetry import crash_point

if TYPE_CHECKING:
    from obstore import GetOptions

CACHE_CONTROL = "public, max-age=31536000, immutable"
SPOOL_BYTES_MAX = 10 * 1024**3
READ_BYTES = 1 << 20
_THREADS = 8
# Larger bodies are hashed off the event loop.
_HASH_INLINE_BYTES = 64 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


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
        await self._blobs.in_thread(_finish, self._file)
        artifact = Artifact(self._hash.digest(), self._media_type, self._size_bytes)
        await self._blobs.adopt(self._path, artifact)
        return artifact

    async def discard(self) -> None:
        """Close and remove the temporary file if it is still there."""
        await self._blobs.in_thread(self._remove)

    def _remove(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk fails again on close; the file goes anyway
                self._file.close()
        self._path.unlink(missing_ok=True)


class Blobs:
    """The blob store of a process; ``open_blobs`` makes it."""

    def __init__(self, store: Any, root: Path | None, spool_folder: Path) -> None:
        self._store = store
        self._root = root
        self._tree = DurableTree(root) if root is not None else None
        self.spool_folder = spool_folder
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blob")

    async def close(self) -> None:
        """Wait for the writes in progress."""
        await asyncio.to_thread(self._threads.shutdown)

    async def in_thread(self, work: Any, *args: Any) -> Any:
        """Run file work off the event loop; a failure of the disk becomes a ``StorageError``.

        A caller that is cancelled waits for the work in hand first: nothing goes on
        writing to a file that its owner has already given up.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # looked at, so that asyncio does not complain of it
            raise
        except OSError as error:
            raise disk_error(error) from error

    async def put(self, body: bytes | Path, media_type: str) -> Artifact:
        """Keep a body (bytes, or a file that is copied) and return its artifact; repeatable."""
        if isinstance(body, Path):
            async with self.spool(media_type) as spool:
                with await self.in_thread(body.open, "rb") as file:
                    while chunk := await self.in_thread(file.read, READ_BYTES):
                        await spool.write(chunk)
                return await spool.commit()
        small = len(body) <= _HASH_INLINE_BYTES
        digest = _sha256(body) if small else await self.in_thread(_sha256, body)
        artifact = Artifact(digest, media_type, len(body))
        if self._tree is not None:
            await self.in_thread(self._write_durably, artifact, body)
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
        if self._tree is not None:
            await self.in_thread(self._place, path, artifact)
        else:
            await self._upload(artifact, path)

    def _write_durably(self, artifact: Artifact, body: bytes) -> None:
        if self._is_there(artifact):
            return
        self.spool_folder.mkdir(parents=True, exist_ok=True)
        path = self.spool_folder / secrets.token_hex(12)
        try:
            with path.open("xb") as file:
                file.write(body)
                _finish(file)
            self._place(path, artifact)
        finally:
            path.unlink(missing_ok=True)

    def _place(self, path: Path, artifact: Artifact) -> None:
        """Give a finished, fsynced file its name; an artifact already there stays."""
        assert self._root is not None
        assert self._tree is not None
        if not self._is_there(artifact):
            # Hard links in output folders share these bytes: nobody edits them in place.
            path.chmod(0o444)
            crash_point("blob-before-rename")
            self._tree.place(path, self._root / blob_key(artifact.sha256))

    def _is_there(self, artifact: Artifact) -> bool:
        """Whether the blob is in place with its size; if so its name is made durable, too.

        Whoever put it there may have died between the rename and the fsync of the folder.
        """
        assert self._root is not None
        assert self._tree is not None
        target = self._root / blob_key(artifact.sha256)
        try:
            if target.stat().st_size != artifact.size_bytes:
                return False
        except FileNotFoundError:
            return False
        self._tree.confirm(target)
        return True

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
        except (BaseError, OSError) as error:
            raise store_error("cannot keep a blob", error) from error

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

    async def pieces(
        self, sha256: bytes, span: tuple[int, int] | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a blob's bytes in pieces of about a MiB, not verified.

        ``span`` is the first byte that is wanted and the one behind the last; ``None`` is all.
        """
        options: GetOptions | None = None if span is None else {"range": span}
        try:
            try:
                found = await obstore.get_async(self._store, blob_key(sha256), options=options)
            except FileNotFoundError:
                found = await obstore.get_async(self._store, aside_key(sha256), options=options)
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)
        except FileNotFoundError as error:
            raise gone_error(sha256) from error
        except (BaseError, OSError) as error:
            raise store_error(f"cannot give blob {sha256.hex()}", error) from error

    def read_range(self, sha256: bytes, begin: int, end: int) -> bytes:
        """Return some of a blob's bytes, not verified; it waits, so it is for a thread."""
        return read_range(self._store, sha256, begin, end)

    async def some(self, sha256: bytes, begin: int, end: int) -> bytes:
        """Return a blob's bytes from ``begin`` until before ``end``, not verified, in one go."""
        return await some(self._store, sha256, begin, end)

    def path(self, sha256: bytes) -> Path | None:
        """Return the blob's file where the store is a local folder and has it."""
        if self._root is None:
            return None
        paths = (self._root / blob_key(sha256), self._root / aside_key(sha256))
        return next((path for path in paths if path.is_file()), None)

    async def signed_url(self, sha256: bytes, lasts_s: float) -> str | None:
        """Return an address at which the store itself gives the blob to anybody for a while.

        ``None`` where the store cannot sign, or does not have the blob in its own place;
        raises ``StorageError``.
        """
        return await signed_url(self._store, sha256, lasts_s)

    async def exists(self, sha256: bytes) -> bool:
        """Tell whether the blob is in the store."""
        try:
            await obstore.head_async(self._store, blob_key(sha256))
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise store_error("cannot be asked for a blob", error) from error
        return True

    async def delete(self, sha256: bytes) -> None:
        """Remove a blob if it is there."""
        await self._remove(blob_key(sha256))

    async def set_aside(self, sha256: bytes) -> None:
        """Take a blob from its place: it is still read; whoever puts the same puts it anew."""
        await self._move(blob_key(sha256), aside_key(sha256))

    async def put_back(self, sha256: bytes) -> None:
        """Bring a blob that was set aside back to its place, unless it was put there anew."""
        if await self.exists(sha256):
            await self.remove_aside(sha256)
        else:
            await self._move(aside_key(sha256), blob_key(sha256))

    async def remove_aside(self, sha256: bytes) -> None:
        """Remove a blob that was set aside, for good."""
        await self._remove(aside_key(sha256))

    async def _remove(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise store_error("cannot remove a blob", error) from error

    async def _move(self, source: str, target: str) -> None:
        try:
            await obstore.rename_async(self._store, source, target)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise store_error("cannot move a blob", error) from error

    async def older_than(self, before: datetime) -> AsyncIterator[list[bytes]]:
        """Yield the digests of blobs in their places that were put before then, some at a time."""
        try:
            async for page in obstore.list(self._store, "sha256/", chunk_size=500):
                old = [one["path"][-64:] for one in page if one["last_modified"] < before]
                yield [bytes.fromhex(name) for name in old if _DIGEST.fullmatch(name)]
        except (BaseError, OSError) as error:
            raise store_error("cannot be listed", error) from error

    async def verify(self, sha256: bytes) -> Literal["sound", "missing", "damaged"]:
        """Read a blob through, piece by piece, and tell whether it has its hash."""
        digest = hashlib.sha256()
        try:
            async for piece in self.pieces(sha256):
                await self.in_thread(digest.update, piece)
        except NotFoundError:
            return "missing"
        return "sound" if digest.digest() == sha256 else "damaged"

    def sweep(self, older_than_s: float, now_s: float) -> int:
        """Remove temporary files that a crash left behind; returns how many.

        ``now_s`` is the wall time in seconds; younger files may still be written.
        """
        removed = 0
        if self.spool_folder.is_dir():
            for path in self.spool_folder.iterdir():
                with suppress(FileNotFoundError):  # its owner was quicker
                    if now_s - path.stat().st_mtime > older_than_s:
                        path.unlink()
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
    is_new = not root.exists()
    try:
        make_folder(root / "tmp")
        if is_new:
            # Results are their owner's; who wants to share them makes the folder first.
            root.chmod(0o700)
        sync_folder(root.parent)
    except OSError as error:
        raise disk_error(error) from error
    return root


def _finish(file: IO[bytes]) -> None:
    sync_file(file)
    file.close()


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
