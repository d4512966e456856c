"""Cells of an exported CSV: any value as text, and nothing that a spreadsheet would execute."""

from __future__ import annotations

import json
import re
from typing import Any

RISKY = frozenset("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|\.\d+)([eE][+-]?\d+)?\s*[%€$£]?")


def cell_text(value: Any) -> str:
    """Return a value as the text of a cell; nested values as compact JSON, ``None`` as empty."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def safe_cell(text: str) -> str:
    """Return ``text`` with an apostrophe before it if a spreadsheet would take it for a formula.

    Plain numbers such as ``-5``, ``+3.2`` and ``-1,5 %`` stay as they are: a spreadsheet
    shows them as the number they are. The source of the rule is OWASP's page on CSV
    injection (``= + - @``, tab, CR, LF, and the full-width forms of the four signs).
    """
    if text and text[0] in RISKY and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def millionths(amount: int) -> str:
    """Return millionths as an exact decimal without needless zeros: 40000 is ``0.04``."""
    sign, whole, rest = "-" if amount < 0 else "", abs(amount) // 10**6, abs(amount) % 10**6
    decimals = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
