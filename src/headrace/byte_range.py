"""Ranges of bytes, as requests ask for them (RFC 9110, section 14)."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableError(ValueError):
    """A range that the body has no byte of."""


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return the first byte that is wanted and the one behind the last; ``None`` is all.

    A header that cannot be read counts as none, and so do several ranges at once: both may
    be answered with the whole. Raises ``UnsatisfiableError``.
    """
    found = _ONE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        begin, end = max(0, size_bytes - int(last)), size_bytes
    else:
        begin, end = int(first), size_bytes
        if last:
            if int(last) < begin:
                return None
            end = min(size_bytes, int(last) + 1)
    if begin >= end:
        raise UnsatisfiableError(header)
    return begin, end
