"""The source contract: rows of an input file, good ones and bad ones, streamed in order.

A source never holds a file in memory. A row that cannot be used is yielded as a value
(``BadRow``), so that good rows go on and bad ones are reported beside them; an input that
cannot be used at all raises ``InputError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

import msgspec

from headrace.errors import InputError

EXCERPT_CHARS_MAX = 200
"""How much of a bad row is shown; never the whole of it."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One usable input row.

    ``number`` counts rows from 1, bad ones included, header and blank lines not;
    ``values`` are the cells by column (text for CSV, any JSON value for JSONL);
    ``line`` is the line of the file on which the row ends, from 1.
    """

    number: int
    values: dict[str, Any]
    line: int = 0


class BadRow(msgspec.Struct, frozen=True):
    """One row that cannot be used, and why.

    ``number`` counts like ``Row.number``; ``line`` is where the trouble begins, from 1;
    ``column`` names the column if one is to blame; ``excerpt`` is the beginning of the
    raw text. ``values`` are the cells that could be told apart, for the results file.
    """

    number: int
    line: int
    column: str | None
    reason: str
    remedy: str
    excerpt: str = ""
    values: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """Return where the trouble is, in words: row, line and, if known, column."""
        where = f"row {self.number} (line {self.line})"
        return f"{where}, column {self.column!r}" if self.column else where

    def as_error(self, name: str = "") -> InputError:
        """Return the error to raise where one bad row must stop everything.

        ``name`` is the file's name, put before the place.
        """
        place = f"{name}, {self.place}" if name else self.place
        error = InputError(self.reason, remedy=self.remedy, place=place)
        error.row = self.number
        return error


class Limits(msgspec.Struct, frozen=True):
    """Caps on an input; ``0`` means no cap for ``rows_max`` and ``bytes_max``.

    ``field_chars_max`` caps one cell or one JSON text, ``row_chars_max`` one whole row;
    beyond either the row is a ``BadRow``. Past ``rows_max``, ``bytes_max`` (of the text,
    after decompression) or ``gzip_ratio_max`` the input is refused. ``depth_max`` caps the
    nesting of JSON, ``columns_max`` the header. ``broken_quotes_max`` is how many quotes
    that never close are reported one by one before the file is given up.
    """

    field_chars_max: int = 1024 * 1024
    row_chars_max: int = 8 * 1024 * 1024
    rows_max: int = 0
    bytes_max: int = 0
    columns_max: int = 4096
    depth_max: int = 64
    gzip_ratio_max: int = 250
    broken_quotes_max: int = 50


class Source(Protocol):
    """An opened input. Iterate once; read the tallies when the iteration has ended.

    ``name`` is what messages call the input, ``kind`` one of ``csv``, ``jsonl`` and
    ``openai``; ``columns`` are known from the start for CSV and ``None`` for plain JSONL.
    ``rows_good`` and ``rows_bad`` count what was yielded so far; ``bytes_read`` and
    ``sha256`` (hexadecimal) cover the bytes consumed so far, as they lie in the file.
    """

    name: str
    kind: str
    columns: list[str] | None

    @property
    def rows_good(self) -> int:
        """Return how many usable rows were yielded."""
        ...

    @property
    def rows_bad(self) -> int:
        """Return how many bad rows were yielded."""
        ...

    @property
    def bytes_read(self) -> int:
        """Return how many bytes of the file were consumed."""
        ...

    @property
    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of the bytes consumed."""
        ...

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Yield every row in order; raises ``InputError`` if the input itself is unusable."""
        ...

    def close(self) -> None:
        """Close the file; may be called again."""
        ...

    def __enter__(self) -> Source:
        """Return the source itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        ...


def excerpt(text: str) -> str:
    """Return the beginning of ``text``, fit to be shown on one line."""
    cut = text[:EXCERPT_CHARS_MAX]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return shown + "…" if len(text) > EXCERPT_CHARS_MAX else shown
