"""The content of local photos and marks, by hash: a file that is replaced is another request."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from headrace.providers.typst_engine.faults import PhotoRefusedError
from headrace.providers.typst_engine.photo import PHOTO_BYTES_MAX, find_photo

_KNOWN_MAX = 20_000
_CHUNK_BYTES = 1 << 20


class PhotoDigests:
    """SHA-256 digests of files, each read once until its time of change or size differs.

    A batch of many rows over few photos so reads each photo once. The last 20,000
    answers are kept.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], str] = OrderedDict()

    def sha256(self, name: str, folders: Sequence[Path]) -> str:
        """Return the digest (hex) of the photo ``name`` inside one of ``folders``.

        Raises ``PhotoMissingError`` and ``PhotoRefusedError``.
        """
        path = find_photo(name, folders)
        try:
            status = path.stat()
            key = (str(path), status.st_mtime_ns, status.st_size)
            return self._known.get(key) or self._keep(key, path, name)
        except OSError as error:
            raise PhotoRefusedError(
                f"the photo {name!r} cannot be read: {error.strerror}",
                remedy="Check that the file is readable by headrace.",
            ) from error

    def _keep(self, key: tuple[str, int, int], path: Path, name: str) -> str:
        if not path.is_file():
            raise PhotoRefusedError(f"the photo {name!r} is not a regular file")
        if key[2] > PHOTO_BYTES_MAX:
            raise PhotoRefusedError(
                f"the photo {name!r} has {key[2]:,} bytes; {PHOTO_BYTES_MAX:,} are allowed",
                remedy="Save it smaller.",
            )
        digest = hashlib.sha256()
        # A pipe that takes the file's place after the check must not block us.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        self._known[key] = digest.hexdigest()
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        return self._known[key]
