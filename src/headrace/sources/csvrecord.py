"""One CSV record read cell by cell: the slow way, which knows where the trouble is.

The fast way (the csv module) fails without saying in which cell, and caps a cell by a
setting of the whole process. This reader takes over for the rare record on which the fast
way stops: it says what is wrong and in which cell, or reads a cell that is merely large.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Trouble(Enum):
    """Why a record cannot be read."""

    OPEN_QUOTE = "a quote opens here and never closes"
    AFTER_QUOTE = "text follows the closing quote"
    LARGE_CELL = "the cell is too large"
    LARGE_ROW = "the row is too large"


@dataclass
class Record:
    """What was read: finished ``cells``; the ``trouble``, if any, is in the cell after them.

    ``lines_used`` counts the lines that belong to the record; ``trouble_line`` counts
    from 0 at its first line.
    """

    cells: list[str] = field(default_factory=list)
    trouble: Trouble | None = None
    lines_used: int = 0
    trouble_line: int = 0


class RecordReader:
    """Reads one record; a double quote stands for itself when doubled inside quotes."""

    def __init__(self, delimiter: str, field_chars_max: int, row_chars_max: int) -> None:
        self._delimiter = delimiter
        self._field_chars_max = field_chars_max
        self._row_chars_max = row_chars_max

    def read(self, lines: Iterable[str]) -> Record:
        """Return the first record of ``lines``; takes no line more than it needs."""
        record = Record()
        open_cell: list[str] | None = None
        opened_at, chars, cell_chars = 0, 0, 0
        for line in lines:
            chars += len(line)
            if chars > self._row_chars_max:
                record.trouble, record.trouble_line = Trouble.LARGE_ROW, opened_at
                return record
            before, continued = len(record.cells), open_cell is not None
            open_cell = self._read_line(line, record, open_cell)
            record.lines_used += 1
            if record.trouble is not None:
                began_before = continued and len(record.cells) == before
                record.trouble_line = opened_at if began_before else record.lines_used - 1
                return record
            if open_cell is None:
                return record
            if len(record.cells) > before or cell_chars == 0:
                opened_at, cell_chars = record.lines_used - 1, sum(map(len, open_cell))
            else:
                cell_chars += len(line)
            if cell_chars > self._field_chars_max:
                record.trouble, record.trouble_line = Trouble.LARGE_CELL, opened_at
                return record
        if open_cell is not None:
            record.trouble, record.trouble_line = Trouble.OPEN_QUOTE, opened_at
        return record

    def _read_line(self, line: str, record: Record, inside: list[str] | None) -> list[str] | None:
        """Read one line; return the pieces of a quoted cell still open at its end."""
        at, end = 0, len(line.rstrip("\r\n"))
        while True:
            if inside is None and line.startswith('"', at):
                inside, at = [], at + 1
            if inside is None:
                cut = line.find(self._delimiter, at, end)
                at = self._close(record, line[at : end if cut < 0 else cut], cut)
            else:
                at = self._read_quoted(line, at, inside)
                if at < 0:
                    return inside
                if at < end and not line.startswith(self._delimiter, at):
                    record.trouble = Trouble.AFTER_QUOTE
                    return None
                at = self._close(record, "".join(inside), at if at < end else -1)
                inside = None
            if at < 0 or record.trouble is not None:
                return None

    def _read_quoted(self, line: str, at: int, pieces: list[str]) -> int:
        """Take up text up to the closing quote; return the place after it, or -1 if none."""
        while True:
            quote = line.find('"', at)
            if quote < 0:
                pieces.append(line[at:])
                return -1
            pieces.append(line[at:quote])
            if not line.startswith('"', quote + 1):
                return quote + 1
            pieces.append('"')
            at = quote + 2

    def _close(self, record: Record, text: str, delimiter_at: int) -> int:
        """Finish a cell; return where the next one begins, or -1 after the last."""
        if len(text) > self._field_chars_max:
            record.trouble = Trouble.LARGE_CELL
            return -1
        record.cells.append(text)
        return delimiter_at + 1 if delimiter_at >= 0 else -1
