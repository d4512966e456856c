"""Public file names that never collide: decided by row order, so a second run gives the same."""

from __future__ import annotations

import hashlib
import unicodedata

from headrace.errors import InputError

STEM_BYTES_MAX = 190
RESERVED = ("results", "report", "contact-sheet", "headrace")
"""Stems of headrace's own files in an output folder."""


class FileNames:
    """Gives each row its stem (a file name without extension); ask in ascending row order.

    The first row that wants a name gets it, the next gets ``-2``, then ``-3``. Names that
    differ only in case or in the way accents are written count as the same, because some
    file systems hold them so. Keeps eight bytes of hash for each name, not the name.
    """

    def __init__(self) -> None:
        self._taken = {_mark(stem) for stem in RESERVED}
        self._next: dict[int, int] = {}

    def assign(self, row_number: int, wanted: str | None) -> str:
        """Return the stem for a row; ``None`` wants the row number in six digits.

        Raises ``InputError`` when ``wanted`` is not one plain file name.
        """
        stem = f"{row_number:06d}" if wanted is None else wanted
        check_stem(stem, f"row {row_number}")
        mark = _mark(stem)
        if mark not in self._taken:
            self._taken.add(mark)
            return stem
        count = self._next.get(mark, 2)
        while (other := _mark(found := _suffixed(stem, count))) in self._taken:
            count += 1
        self._next[mark] = count + 1
        self._taken.add(other)
        return found


def check_stem(stem: str, place: str) -> None:
    """Raise ``InputError`` unless ``stem`` is a name that stays inside its folder."""
    plain = stem.strip(". ") == stem and stem and stem.isprintable()
    if not plain or any(char in stem for char in '/\\:*?"<>|'):
        raise InputError(
            f"{stem[:80]!r} is not a plain file name",
            place=place,
            remedy="Use letters, digits, spaces, '-' and '_' in the file name template.",
        )
    if len(stem.encode("utf-8", "replace")) > STEM_BYTES_MAX:
        raise InputError(
            f"the file name {stem[:40]!r}… is longer than {STEM_BYTES_MAX} bytes",
            place=place,
            remedy="Shorten the file name template.",
        )


def _suffixed(stem: str, count: int) -> str:
    """Append ``-count``, cutting the stem between characters where the bytes would not fit."""
    suffix = f"-{count}"
    room = STEM_BYTES_MAX - len(suffix)
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + suffix


def _mark(stem: str) -> int:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", stem).casefold())
    return int.from_bytes(hashlib.blake2b(folded.encode(), digest_size=8).digest(), "big")
