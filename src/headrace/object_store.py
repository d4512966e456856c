"""Object stores: opened by their address, and sent bodies whose hash is checked on the way."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import MemoryStore, from_url

from headrace.artifact import Artifact
from headrace.blob_keys import blob_key, store_error
from headrace.errors import ConfigError, NotFoundError, StorageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

CACHE_CONTROL = "public, max-age=31536000, immutable"
PART_BYTES = 8 * 1024 * 1024
"""Larger bodies go in parts of so many bytes."""
PARTS_AT_ONCE = 2

_CLIENT: ClientConfig = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=30)}
_PLAIN_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
_TRUE = frozenset({"1", "true", "on", "yes", "y"})
# Short: whoever sends tries again by itself for as long as it takes, and says so meanwhile.
_RETRY: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=2),
        "base": 2,
    },
}


def open_store(url: str) -> Any:
    """Return the object store at ``url``; raises ``ConfigError``."""
    try:
        return from_url(url, client_options=_client(os.environ), retry_config=_RETRY)
    except (BaseError, ValueError) as error:
        raise ConfigError(
            f"{url!r} is not the address of a blob store: {error}",
            place="blob_url",
            remedy="Use a folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.",
        ) from error


def _client(environment: Mapping[str, str]) -> ClientConfig:
    # Options that are given replace those of the environment: this one must not be lost.
    plain = any(environment.get(name, "").lower() in _TRUE for name in _PLAIN_HTTP)
    return {**_CLIENT, "allow_http": True} if plain else _CLIENT


async def upload(store: Any, artifact: Artifact, body: bytes | Path) -> None:
    """Put a body under its name, whole or not at all; repeatable.

    A file is hashed as it is sent, and not completed where its bytes are not the artifact's.
    Raises ``StorageError``, and ``NotFoundError`` for a file that is damaged.
    """
    attributes: Any = {"Content-Type": artifact.media_type, "Cache-Control": CACHE_CONTROL}
    if isinstance(store, MemoryStore):
        attributes = None
    try:
        if isinstance(body, Path) and artifact.size_bytes > PART_BYTES:
            await _in_parts(store, artifact, body, attributes)
        else:
            if isinstance(body, Path):
                body = await asyncio.to_thread(_checked, body, artifact.sha256)
            await _at_once(store, blob_key(artifact.sha256), body, attributes)
    except NotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise store_error("cannot keep a blob", error) from error


async def probe(store: Any, key: str, body: bytes) -> None:
    """Write, read, list and remove one object.

    Raises ``StorageError``, whose place is the right that is missing.
    """
    step = "write (PutObject)"
    try:
        await obstore.put_async(store, key, body)
        step = "read (GetObject)"
        found = await (await obstore.get_async(store, key)).bytes_async()
        if bytes(found) != body:
            raise StorageError("the blob store gave other bytes than it was given", place=step)
        step = "list (ListBucket)"
        await obstore.list(store, key.partition("/")[0]).collect_async()
        step = "remove (DeleteObject)"
        await obstore.delete_async(store, key)
    except (BaseError, OSError) as error:
        told = store_error("fails", error)
        told.place = step
        raise told from error


async def _at_once(store: Any, key: str, body: bytes, attributes: Any) -> None:
    try:
        await obstore.put_async(store, key, body, attributes=attributes, mode="create")
    except AlreadyExistsError:
        return  # the same bytes by their name
    except (NotSupportedError, NotImplementedError):
        # A store without conditional writes: the same bytes once more.
        await obstore.put_async(store, key, body, attributes=attributes)


async def _in_parts(store: Any, artifact: Artifact, path: Path, attributes: Any) -> None:
    key = blob_key(artifact.sha256)
    await obstore.put_async(
        store,
        key,
        _checked_pieces(path, artifact.sha256),
        attributes=attributes,
        use_multipart=True,
        chunk_size=PART_BYTES,
        max_concurrency=PARTS_AT_ONCE,
    )
    there = await obstore.head_async(store, key)
    if there["size"] != artifact.size_bytes:
        await obstore.delete_async(store, key)
        raise StorageError(
            f"the blob store kept {there['size']:,} of {artifact.size_bytes:,} bytes",
            remedy="It is sent again by itself.",
        )


async def _checked_pieces(path: Path, sha256: bytes) -> AsyncIterator[bytes]:
    """Yield a file's bytes; the last come only if all of them have the hash."""
    digest, held = hashlib.sha256(), b""
    with await asyncio.to_thread(path.open, "rb") as file:
        while True:
            piece = await asyncio.to_thread(file.read, PART_BYTES)
            await asyncio.to_thread(digest.update, piece)
            if not piece:
                break
            if held:
                yield held
            held = piece
    if digest.digest() != sha256:
        raise _damaged(path, sha256)
    yield held


def _checked(path: Path, sha256: bytes) -> bytes:
    body = path.read_bytes()
    if hashlib.sha256(body).digest() != sha256:
        raise _damaged(path, sha256)
    return body


def _damaged(path: Path, sha256: bytes) -> NotFoundError:
    return NotFoundError(
        f"the spooled bytes of blob {sha256.hex()} are damaged",
        place=str(path),
        remedy="Check the disk. The batch's policy for lost results decides.",
    )
