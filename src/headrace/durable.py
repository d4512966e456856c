"""Files that are either there whole, and survive a power cut, or not there at all."""

from __future__ import annotations

import errno
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headrace.errors import StorageError

if sys.platform != "win32":
    import fcntl

HOPELESS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_error(error: OSError) -> StorageError:
    """Return what to tell of a failed file operation; waiting helps unless it is forbidden."""
    place = str(error.filename or "")
    if error.errno in FULL:
        return StorageError(
            "the disk is full", place=place, remedy="Free some space; the work goes on by itself."
        )
    return StorageError(
        f"the disk failed: {error.strerror or error}",
        place=place,
        remedy="Check that the folder is writable and the disk healthy.",
        retryable=error.errno not in HOPELESS,
    )


def sync_file(file: IO[bytes]) -> None:
    """Wait until what was written to ``file`` is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock of a file until it is closed, or its process ends, however it does.

    False where another has it, or where files have no locks.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk; Windows has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each name on the disk when it returns."""
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


class DurableTree:
    """Folders below ``root``, made on demand, none trusted before its name is on the disk.

    A folder that is merely there may have been made a moment ago by another thread, or
    by a process that died before it could fsync the parent; so each is made certain once
    per process. Safe to use from several threads.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._certain: set[Path] = {root}
        self._lock = threading.Lock()

    def place(self, finished: Path, target: Path) -> None:
        """Rename an fsynced file to ``target``, below the root; durable when it returns."""
        self._make_certain(target.parent)
        finished.replace(target)
        sync_folder(target.parent)

    def confirm(self, target: Path) -> None:
        """Make durable a file that was found in place, whoever put it there."""
        self._make_certain(target.parent)
        sync_folder(target.parent)

    def _make_certain(self, folder: Path) -> None:
        with self._lock:
            if folder in self._certain:
                return
        self._make_certain(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
        with self._lock:
            self._certain.add(folder)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside ``path`` and put it in its place, durably, when the block ends well.

    Where the block raises, the old file stays and nothing is left behind. Raises
    ``StorageError`` when the disk does not take it.
    """
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        try:
            with beside.open("xb") as file:
                yield file
                sync_file(file)
            beside.replace(path)
            sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error) from error
