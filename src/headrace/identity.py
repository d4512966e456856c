"""Ids: time-ordered UUIDs (RFC 9562, version 7), shown as a letter and 26 base-32 digits."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

from headrace.errors import NotFoundError

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}


def new_uuid(now: datetime) -> UUID:
    """Return a fresh version 7 UUID for the wall time ``now``."""
    millis = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    value = millis << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def show_id(prefix: str, value: UUID) -> str:
    """Return the public form of an id: ``prefix`` and 26 Crockford base-32 digits."""
    left, digits = value.int, []
    for _ in range(26):
        left, rest = divmod(left, 32)
        digits.append(_DIGITS[rest])
    return prefix + "".join(reversed(digits))


def read_id(prefix: str, text: str, what: str, remedy: str = "") -> UUID:
    """Return the id behind its public form; raises ``NotFoundError``: it is not ``what``."""
    body = text.strip().removeprefix(prefix).upper().translate(str.maketrans("OIL", "011"))
    if len(body) != 26 or any(digit not in _VALUES for digit in body) or body[0] > "7":
        raise NotFoundError(f"{text[:80]!r} is not {what}", remedy=remedy)
    value = 0
    for digit in body:
        value = value * 32 + _VALUES[digit]
    return UUID(int=value)


def show_batch_id(batch_id: UUID) -> str:
    """Return the public form of a batch id: ``b_`` and 26 Crockford base-32 digits."""
    return show_id("b_", batch_id)


def read_batch_id(text: str) -> UUID:
    """Return the id behind its public form; raises ``NotFoundError`` when it is not one."""
    remedy = "A batch id looks like b_01JD8QY3…; 'headrace batches' lists them."
    return read_id("b_", text, "a batch id", remedy)
