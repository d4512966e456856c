"""The output folder: proved writable before any work, filled by hard links where possible."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from headrace.artifact import Artifact
from headrace.container import Marked
from headrace.durable import disk_error
from headrace.errors import InputError
from headrace.reports.filenames import check_stem

MARKER = ".headrace-out"
READ_BYTES = 1 << 20
# What says "this file system, or this file, takes no more hard links": then it is a copy.
_NO_LINK = (
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EACCES,
)


class Bodies(Protocol):
    """Where the bytes of artifacts come from; the blob store is one."""

    def path(self, sha256: bytes) -> Path | None:
        """Return the local file that holds the bytes, if there is one."""
        ...

    def pieces(self, sha256: bytes) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces."""
        ...


class OutputFolder:
    """A folder that receives one file for each artifact, under the name it was given.

    Publishing again is harmless: a file that has the right bytes is left alone. A file of
    the same name that headrace did not put there is never replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_ours = True

    def prepare(self) -> None:
        """Make the folder and prove that it takes a file; raises ``InputError`` if not."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            marker = self.folder / MARKER
            self._is_ours = marker.exists() or not any(self.folder.iterdir())
            probe = self.folder / f".{secrets.token_hex(6)}.part"
            probe.write_bytes(b"headrace fills this folder; it may replace its own files here.\n")
            if self._is_ours:
                probe.replace(marker)
            else:
                probe.unlink()
        except OSError as error:
            raise InputError(
                f"files cannot be written here: {error.strerror or error}",
                place=str(self.folder),
                remedy="Choose another folder with --out, or make this one writable.",
            ) from error

    async def publish(
        self, artifact: Artifact, stem: str, bodies: Bodies, marked: Marked | None = None
    ) -> str:
        """Put an artifact into the folder as ``stem`` and its extension; return that name.

        ``marked`` is the file to be put there in the place of the artifact's own bytes.
        Raises ``InputError`` where a file of somebody else has the name, ``StorageError``
        when the disk is full or failing.
        """
        check_stem(stem, str(self.folder))
        name = f"{stem}.{artifact.extension}"
        target = self.folder / name
        try:
            if marked is not None:
                if not await asyncio.to_thread(self._is_marked, target, artifact, marked):
                    await asyncio.to_thread(_write, target, marked)
                return name
            kept = None if artifact.body is not None else bodies.path(artifact.sha256)
            if await asyncio.to_thread(self._is_done, target, artifact, kept):
                return name
            if kept is None or not await asyncio.to_thread(_link, kept, target):
                await self._copy(artifact, target, bodies)
        except OSError as error:
            raise disk_error(error) from error
        return name

    def _is_done(self, target: Path, artifact: Artifact, kept: Path | None) -> bool:
        try:
            found = target.lstat()
        except FileNotFoundError:
            return False
        if kept is not None and os.path.samestat(found, kept.stat()):
            return True
        if found.st_size == artifact.size_bytes and _digest(target) == artifact.sha256:
            return True
        self._check_ours(target)
        return False

    def _is_marked(self, target: Path, artifact: Artifact, marked: Marked) -> bool:
        """Tell whether the marked file is there already, byte by byte."""
        try:
            size = target.lstat().st_size
        except FileNotFoundError:
            return False
        if size == marked.patch.size and _holds(target, artifact, marked):
            return True
        self._check_ours(target)
        return False

    def _check_ours(self, target: Path) -> None:
        if not self._is_ours:
            raise InputError(
                "a file of this name is there already, and it is not headrace's",
                place=str(target),
                remedy="Choose an empty folder with --out, or move the file away.",
            )

    async def _copy(self, artifact: Artifact, target: Path, bodies: Bodies) -> None:
        beside = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with await asyncio.to_thread(beside.open, "xb") as file:
                if artifact.body is not None:
                    await asyncio.to_thread(file.write, artifact.body)
                else:
                    async for piece in bodies.pieces(artifact.sha256):
                        await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(beside.replace, target)
        finally:
            beside.unlink(missing_ok=True)


def _holds(target: Path, artifact: Artifact, marked: Marked) -> bool:
    """Tell whether a file has the marked bytes; the artifact's are read only where they have to."""
    digest = hashlib.sha256()
    if not marked.patch.only_adds(artifact.size_bytes):
        for piece in marked.pieces():
            digest.update(piece)
        return _digest(target) == digest.digest()
    try:
        with target.open("rb") as file:
            for part in marked.patch.parts:
                if isinstance(part, bytes):
                    if file.read(len(part)) != part:
                        return False
                    continue
                for at in range(part.start, part.end, READ_BYTES):
                    digest.update(file.read(min(READ_BYTES, part.end - at)))
    except OSError:
        return False  # a folder, or unreadable: in any case not our bytes
    return digest.digest() == artifact.sha256


def _write(target: Path, marked: Marked) -> None:
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            for piece in marked.pieces():
                file.write(piece)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _link(kept: Path, target: Path) -> bool:
    """Give the blob's file a second name; ``False`` where only a copy can do."""
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        beside.hardlink_to(kept)
        beside.replace(target)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    finally:
        # Renaming one name of a file onto another name of the same file leaves both.
        beside.unlink(missing_ok=True)
    return True


def _digest(path: Path) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
    except OSError:
        return None  # a folder, or unreadable: in any case not our bytes
    return digest.digest()
