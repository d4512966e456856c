"""Photos that rows name: found only inside allowed folders, capped, and known by their content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from headrace.errors import HeadraceError

PHOTO_BYTES_MAX = 50 * 1024 * 1024
PHOTO_PIXELS_MAX = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_KNOWN_MAX = 20_000
_CHUNK_BYTES = 1 << 20
# A pipe never blocks us, and a link put there after the check is not followed.
_SAFE_OPEN = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


class PhotoError(HeadraceError):
    """A photo that a row names cannot be used."""

    code = "photo"
    exit_code = 2


class PhotoMissingError(PhotoError):
    """A row names a photo that is not there."""

    code = "photo_missing"


class PhotoRefusedError(PhotoError):
    """A photo lies outside the allowed folders, is too large, or is not an image."""

    code = "photo_refused"


def find_photo(name: str, folders: Sequence[Path]) -> Path:
    """Return the real path of the photo ``name`` inside one of ``folders``.

    ``name`` is relative to a folder, or absolute and inside one. Links are followed
    first and the place they lead to must still lie inside. Raises ``PhotoRefusedError``
    for anything else and ``PhotoMissingError`` when no folder has it.
    """
    _check_name(name, folders)
    found = [_inside(folder.resolve(), name) for folder in folders]
    for path in found:
        if path is not None and path.exists():
            return path
    if None in found:
        raise PhotoRefusedError(
            f"the photo {name!r} leads outside the allowed folders",
            remedy="Keep photos inside the input's folder; '..' and links may not leave it.",
        )
    raise PhotoMissingError(
        f"the photo {name!r} is not there",
        place=str(folders[0]),
        remedy="Correct the cell, add the file, or set photo_fallback = true in the recipe.",
    )


def _check_name(name: str, folders: Sequence[Path]) -> None:
    if "://" in name or name.startswith("data:"):
        raise PhotoRefusedError(
            f"the photo {name[:200]!r} is an address, not a file",
            remedy="Download it into the photo folder and write its file name in the cell.",
        )
    if "\0" in name or len(name) > 4096:
        raise PhotoRefusedError(f"the photo {name[:200]!r} is not a file name")
    if not folders:
        raise PhotoRefusedError(
            f"the row names the photo {name!r}, but no photo folder is allowed",
            remedy="Give the folder that holds the photos (usually that of the input file).",
        )


def _inside(base: Path, name: str) -> Path | None:
    """Return where ``name`` leads, ``None`` when that is outside ``base``."""
    try:
        real = (base / name).resolve()
    except (OSError, RuntimeError):  # links that go round in circles
        return None
    return real if real.is_relative_to(base) else None


def read_photo(path: Path, name: str) -> bytes:
    """Read a regular file under the byte cap; raises ``PhotoRefusedError`` for others."""
    try:
        handle = os.open(path, os.O_RDONLY | _SAFE_OPEN)
    except OSError as error:
        raise PhotoRefusedError(f"the photo {name!r} cannot be read: {error.strerror}") from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode):
        os.close(handle)
        raise PhotoRefusedError(f"the photo {name!r} is not a regular file")
    with os.fdopen(handle, "rb") as file:
        if info.st_size > PHOTO_BYTES_MAX:
            raise PhotoRefusedError(
                f"the photo {name!r} has {info.st_size:,} bytes; {PHOTO_BYTES_MAX:,} are allowed",
                remedy="Save it smaller.",
            )
        # As much as it has: a larger number is asked of the memory before a byte is read.
        return file.read(info.st_size)


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


class SourcePhotos:
    """Digests of photos that go into a model: their bytes are looked at once, header and size.

    Formats are told by the first bytes, not by the file's name.
    """

    def __init__(self) -> None:
        self._digests = PhotoDigests()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def sha256(self, name: str, folders: Sequence[Path]) -> str:
        """Return the digest (hex) of the photo ``name``.

        Raises ``PhotoMissingError`` and ``PhotoRefusedError``.
        """
        digest = self._digests.sha256(name, folders)
        if digest not in self._seen:
            check_photo(read_photo(find_photo(name, folders), name), name)
            self._seen[digest] = None
            if len(self._seen) > _KNOWN_MAX:
                self._seen.popitem(last=False)
        return digest


def check_photo(body: bytes | Path, name: str) -> None:
    """Raise ``PhotoRefusedError`` unless the header is that of a picture under the pixel cap.

    ``body`` is the picture, or where it lies: then no more than its header is read.
    """
    import io
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            source = io.BytesIO(body) if isinstance(body, bytes) else body
            with Image.open(source, formats=FORMATS) as image:
                width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PhotoRefusedError(
            f"the photo {name!r} is not a PNG, JPEG, WebP or GIF image",
            remedy="Save it as one of these; SVG and PDF are not read.",
        ) from error
    if not 0 < width * height <= PHOTO_PIXELS_MAX:
        raise PhotoRefusedError(
            f"the photo {name!r} has {width} x {height} pixels; "
            f"{PHOTO_PIXELS_MAX // 1_000_000} megapixels are allowed",
            remedy="Save it at a smaller size.",
        )


def photo_body(name: str, sha256_hex: str, folders: Sequence[Path]) -> bytes | None:
    """Return the bytes of a photo, ``None`` where they are no longer those of that digest.

    Raises ``PhotoMissingError`` and ``PhotoRefusedError``.
    """
    body = read_photo(find_photo(name, folders), name)
    return body if hashlib.sha256(body).hexdigest() == sha256_hex else None
