"""Numbers out of cells: a column of a CSV file is text, and APIs want numbers."""

from __future__ import annotations

import math
from typing import Any

Kind = type[int] | type[float] | type[bool]

_SPOKEN = {int: "a whole number", float: "a number", bool: "true or false"}
_FLAGS = {"true": True, "false": False}
_CHARS_MAX = 40


def cell_value(value: Any, kind: Kind) -> int | float | bool | None:
    """Return ``value``, a text or already a number, as ``kind``; ``None`` when it is none."""
    if kind is bool:
        if isinstance(value, str):
            return _FLAGS.get(value.strip().lower())
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > _CHARS_MAX:
        return None
    try:
        if kind is int:
            whole = int(value)
            return whole if isinstance(value, str) or whole == value else None
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def wrong_cell(name: str, value: Any, kind: Kind) -> str:
    """Return what is wrong with a parameter of ``kind``, empty when nothing is."""
    if cell_value(value, kind) is not None:
        return ""
    return f"{name} = {str(value)[:80]!r} is not {_SPOKEN[kind]}"
