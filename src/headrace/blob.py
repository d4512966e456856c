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
from typing import TYPE_CHECKING, Any, Literal

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore

from headrace.artifact import Artifact
from headrace.blob_keys import (
    aside_key,
    blob_key,
    giving,
    read_range,
    signed_url,
    some,
    store_error,
)
from headrace.config import Config
from headrace.durable import DurableTree, disk_error, make_folder, sync_folder
from headrace.errors import NotFoundError, StorageError
from headrace.object_store import open_store, probe, upload
from headrace.outbox import Outbox, Room
from headrace.spool import Spool, finish, is_left
from headrace.storage_settings import SPOOL_BYTES_MAX
from headrace.telemetry import crash_point

if TYPE_CHECKING:
    from obstore import GetOptions

READ_BYTES = 1 << 20
_THREADS = 8
# Larger bodies are hashed off the event loop.
_HASH_INLINE_BYTES = 64 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blob store of a process; ``open_blobs`` makes it.

    An object store has an ``outbox``: what is put with a ``room`` in it is durable on this
    machine when the put returns, and readable by others once it was sent by ``forward``.
    """

    def __init__(
        self, store: Any, root: Path | None, spool_folder: Path, outbox: Outbox | None = None
    ) -> None:
        self._store = store
        self._root = root
        self._tree = DurableTree(root) if root is not None else None
        self.spool_folder = spool_folder
        self.outbox = outbox
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

    async def put(self, body: bytes | Path, media_type: str, room: Room | None = None) -> Artifact:
        """Keep a body (bytes, or a file that is copied) and return its artifact; repeatable."""
        if room is not None and isinstance(body, bytes):
            async with self.spool(media_type, room=room) as spool:
                await spool.write(body)
                return await spool.commit()
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
            await upload(self._store, artifact, body)
        return artifact

    @asynccontextmanager
    async def spool(
        self, media_type: str, bytes_max: int = SPOOL_BYTES_MAX, room: Room | None = None
    ) -> AsyncIterator[Spool]:
        """Open a file for a body that arrives in pieces; not committed, it is discarded."""
        adopt = self._adopt if room is None else self._adopt_in_outbox
        folder = self.spool_folder
        spool = Spool(folder, media_type, bytes_max, self.in_thread, adopt, room)
        try:
            yield spool
        finally:
            await spool.discard()

    async def _adopt(self, path: Path, artifact: Artifact) -> None:
        """Take over a finished, fsynced temporary file under the artifact's name."""
        if self._tree is not None:
            await self.in_thread(self._place, path, artifact)
        else:
            await upload(self._store, artifact, path)

    async def _adopt_in_outbox(self, path: Path, artifact: Artifact) -> None:
        assert self.outbox is not None
        await self.in_thread(self.outbox.place_file, path, artifact.sha256)

    async def forward(self, artifact: Artifact) -> None:
        """Send a body of the outbox to the store and remove it here; repeatable.

        Raises ``StorageError``; ``NotFoundError`` where its bytes are nowhere, or damaged.
        """
        if self.outbox is None:
            return
        path = self.outbox.path(artifact.sha256)
        if await self.in_thread(path.is_file):
            await upload(self._store, artifact, path)
            crash_point("blob-after-upload")
            await self.in_thread(lambda: path.unlink(missing_ok=True))
        elif not await self.exists(artifact.sha256):
            raise NotFoundError(
                f"blob {artifact.sha256.hex()} is neither in the spool nor in the store",
                remedy="Was the spool's folder emptied? It has to outlive a restart.",
            )
        self.outbox.gone(artifact.sha256)

    def _write_durably(self, artifact: Artifact, body: bytes) -> None:
        if self._is_there(artifact):
            return
        self.spool_folder.mkdir(parents=True, exist_ok=True)
        path = self.spool_folder / secrets.token_hex(12)
        try:
            with path.open("xb") as file:
                file.write(body)
                finish(file)
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
        with giving(sha256):
            try:
                found = await obstore.get_async(self._store, blob_key(sha256), options=options)
            except FileNotFoundError:
                found = await obstore.get_async(self._store, aside_key(sha256), options=options)
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

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

    async def probe(self) -> None:
        """Write, read, list and remove something: all that the work needs of the store.

        Raises ``StorageError``, whose place is the right that is missing.
        """
        body, token = b"headrace doctor", secrets.token_hex(8)
        if self._root is not None:
            artifact = await self.put(body, "text/plain")
            await self.read(artifact.sha256)
            return
        await probe(self._store, f"doctor/{token}", body)

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

        ``now_s`` is the wall time in seconds. Younger files may still be written, but for those
        whose lock says that their process has died.
        """
        removed = 0
        if self.spool_folder.is_dir():
            for path in self.spool_folder.iterdir():
                with suppress(FileNotFoundError):  # its owner was quicker
                    if not path.is_file():
                        continue
                    if now_s - path.stat().st_mtime > older_than_s or is_left(path):
                        path.unlink()
                        removed += 1
        return removed


async def open_blobs(
    url: str, spool_folder: Path | None = None, spool_bytes_max: int = SPOOL_BYTES_MAX
) -> Blobs:
    """Open the store at ``url``: a folder, ``file://``, ``s3://``, ``gs://``, ``az://``, ``memory://``.

    ``spool_folder`` is where bodies wait for an object store, ``spool_bytes_max`` together.
    Raises ``ConfigError`` for an address that is none, ``StorageError`` for a folder
    that cannot be written.
    """
    if "://" not in url or url.startswith("file://"):
        root = await asyncio.to_thread(_make_root, url.removeprefix("file://"))
        return Blobs(LocalStore(root), root, root / "tmp")
    folder = spool_folder or Path(".headrace") / "spool"
    outbox = Outbox(folder / "waiting", spool_bytes_max)
    store = MemoryStore() if url.startswith("memory://") else open_store(url)
    return Blobs(store, None, folder, outbox)


async def blobs_of(config: Config) -> Blobs:
    """Open the store of the settings; raises as ``open_blobs``."""
    home, storage = Path(config.home), config.storage
    folder = Path(storage.spool_folder) if storage.spool_folder else home / "spool"
    url = config.blob_url or str(home / "blobs")
    blobs = await open_blobs(url, folder, storage.spool_bytes_max)
    if blobs.outbox is not None:
        blobs.outbox.lost_after_s = storage.lost_after_s
    return blobs


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


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
