"""Blobs as their store knows them: the keys, what its errors mean, the addresses that it signs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from headrace.errors import NotFoundError, StorageError


def blob_key(sha256: bytes) -> str:
    """Return the key of a blob: ``sha256/ab/cd/abcd…``, spread so that no folder grows huge."""
    name = sha256.hex()
    return f"sha256/{name[:2]}/{name[2:4]}/{name}"


def aside_key(sha256: bytes) -> str:
    """Return the key under which a blob waits for its removal."""
    return f"aside/{sha256.hex()}"


async def some(store: Any, sha256: bytes, begin: int, end: int) -> bytes:
    """Return the bytes of a blob from ``begin`` until before ``end``, not verified.

    Raises ``NotFoundError`` and ``StorageError``.
    """
    with giving(sha256):
        try:
            found = await obstore.get_range_async(store, blob_key(sha256), start=begin, end=end)
        except FileNotFoundError:
            found = await obstore.get_range_async(store, aside_key(sha256), start=begin, end=end)
        return bytes(found)


def public_address(base: str, sha256: bytes) -> str:
    """Return where a blob is below ``base``, at which the store's prefix is seen from outside."""
    return f"{base.rstrip('/')}/{blob_key(sha256)}"


async def signed_url(store: Any, sha256: bytes, lasts_s: float) -> str | None:
    """Return an address at which a store itself gives a blob to anybody for a while.

    ``None`` where it cannot sign, or does not have the blob in its own place.
    """
    if not isinstance(store, S3Store | GCSStore | AzureStore):
        return None
    key = blob_key(sha256)
    try:
        await obstore.head_async(store, key)
        return await obstore.sign_async(store, "GET", key, timedelta(seconds=lasts_s))
    except FileNotFoundError:
        return None
    except (BaseError, OSError) as error:
        raise store_error("cannot sign an address", error) from error


def read_range(store: Any, sha256: bytes, begin: int, end: int) -> bytes:
    """Return a blob's bytes from ``begin`` up to ``end``; it waits, so it is for a thread.

    Raises ``NotFoundError`` and ``StorageError``.
    """
    with giving(sha256):
        try:
            found = obstore.get_range(store, blob_key(sha256), start=begin, end=end)
        except FileNotFoundError:
            found = obstore.get_range(store, aside_key(sha256), start=begin, end=end)
        return bytes(found)


@contextmanager
def giving(sha256: bytes) -> Iterator[None]:
    """Let what a store says while it gives a blob be ``NotFoundError`` or ``StorageError``."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(
            f"blob {sha256.hex()} is not in the store",
            remedy="Was the blob folder moved or pruned? Run again with --cache refresh.",
        ) from error
    except (BaseError, OSError) as error:
        raise store_error(f"cannot give blob {sha256.hex()}", error) from error


def store_error(what: str, error: Exception) -> StorageError:
    """Return what to tell of a failed call to the store; waiting helps unless it is forbidden."""
    hopeless = isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError)
    first_line = str(error).partition("\n")[0]
    remedy = "Check that the store can be reached; the work goes on by itself."
    if hopeless:
        remedy = "Check the keys and the rights of the store."
    elif isinstance(error, FileNotFoundError):
        remedy = "Check that the bucket (container) is there; headrace makes none."
    return StorageError(
        f"the blob store {what}: {first_line}", remedy=remedy, retryable=not hopeless
    )
