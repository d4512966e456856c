"""Rows of a CSV file, fast where rows are plain and exact where one is broken."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from itertools import chain

from headrace.errors import InputError
from headrace.source import BadRow, Limits, Row, excerpt
from headrace.sources.bytestream import ByteStream
from headrace.sources.csvheader import named_delimiter, read_header, sniff_delimiter
from headrace.sources.csvrecord import Record, RecordReader, Trouble
from headrace.sources.openedfile import OpenedFile
from headrace.sources.textlines import TextLines

REMEDIES = {
    Trouble.OPEN_QUOTE: 'Close the quote, or write a quote inside quotes twice: "".',
    Trouble.AFTER_QUOTE: 'Quote the whole cell, and write a quote inside quotes twice: "".',
    Trouble.LARGE_CELL: "Shorten it, or raise the limit on field size; is a quote left open?",
    Trouble.LARGE_ROW: "Shorten it, or raise the limit on row size; is a quote left open?",
}


MANY_LINES = 64
"""A broken record that swallowed more lines than this counts as a quote without an end."""


class _TooMuchError(Exception):
    """The record in hand has grown past the cap on a row."""


class CsvSource(OpenedFile):
    """Rows of a CSV file; a header line names the columns, blank lines are skipped.

    Cells are quoted with double quotes. A row with too few or too many cells is a
    ``BadRow``, unless ``fill_short`` takes missing cells at the end for empty ones. After
    a quote that never closes, reading goes on at the next line: one stray quote costs one
    row. Raises ``InputError`` when opened without a usable header.
    """

    kind = "csv"

    def __init__(
        self,
        stream: ByteStream,
        lines: TextLines,
        limits: Limits,
        *,
        delimiter: str | None = None,
        fill_short: bool = False,
    ) -> None:
        self.name = stream.name
        self.rows_good = 0
        self.rows_bad = 0
        super().__init__(stream)
        self._flaws = lines.flaws
        self._limits = limits
        self._fill_short = fill_short
        self._pending: list[str] = []
        self._line = 0  # the last line handed to the reader
        self._broken_quotes = 0
        self._again: deque[str] = deque()  # lines to be read once more, before new ones
        self._fresh = iter(lines)
        self._columns = self._open(delimiter)
        self.columns: list[str] | None = list(self._columns)

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Yield every row in order; raises ``InputError`` past a cap, or if there is none."""
        rows_max = self._limits.rows_max
        for row in self._records():
            if rows_max and self._number > rows_max:
                raise InputError(
                    f"more than {rows_max:,} rows",
                    place=self.name,
                    remedy="Split the file, or raise the limit on rows.",
                )
            yield row
        if not self._number:
            raise InputError(
                f"a header and no rows: {', '.join(self._columns[:8])}",
                place=self.name,
                remedy="Add a row below the header. If the first line is data, put names above it.",
            )

    @property
    def _number(self) -> int:
        return self.rows_good + self.rows_bad

    # -- the header

    def _open(self, delimiter: str | None) -> list[str]:
        ahead: list[str] = []
        chars = 0
        for line in self._fresh:
            ahead.append(line)
            chars += len(line)
            if chars > self._limits.field_chars_max or len(ahead) > 64:
                break
        start = next((i for i, line in enumerate(ahead) if line.strip()), None)
        if start is None:
            raise InputError(
                "the file is empty",
                place=self.name,
                remedy="The first line names the columns, each line after it is a row.",
            )
        named = named_delimiter(ahead[start])
        if named is not None and len(ahead) > start + 1:
            delimiter, start = delimiter or named, start + 1
        self._refuse_flawed_header(start + 1)
        self._delimiter = delimiter or sniff_delimiter("".join(ahead[start:]))
        self._line = start + 1
        self._take_flaw(1)
        self._again.extend(ahead[start + 1 :])
        return read_header(ahead[start], self._delimiter, self._limits, self.name, start + 1)

    def _refuse_flawed_header(self, line_number: int) -> None:
        flaw = self._flaws.get(line_number)
        if flaw is not None:
            raise InputError(flaw[0], place=f"{self.name}, line {line_number}", remedy=flaw[1])

    # -- records

    def _feed(self) -> Iterator[str]:
        """Hand lines to the reader, remembering those of the record in hand."""
        pending, chars_max = self._pending, self._limits.row_chars_max
        chars = 0
        for line in chain(self._drained(), self._fresh):
            pending.append(line)
            if len(pending) > 1:
                chars += len(line)
                if chars > chars_max:
                    raise _TooMuchError
            else:
                chars = len(line)
            yield line

    def _drained(self) -> Iterator[str]:
        while self._again:
            yield self._again.popleft()

    def _records(self) -> Iterator[Row | BadRow]:
        """Read records, starting a new reader after each one that breaks the present one."""
        done = False
        while not done:
            try:
                yield from self._plain_records()
                done = True
            except (csv.Error, _TooMuchError):
                row = self._slow_record()
                if row is not None:
                    yield row

    def _plain_records(self) -> Iterator[Row | BadRow]:
        columns, width, flaws = self._columns, len(self._columns), self._flaws
        pending, field_max = self._pending, self._limits.field_chars_max
        reader = csv.reader(self._feed(), delimiter=self._delimiter, strict=True)
        for cells in reader:
            self._line += len(pending)
            if len(cells) != width or flaws or len(pending) > 1 or len(pending[0]) > field_max:
                row = self._checked(cells)
                if row is None:
                    pending.clear()
                    continue
            else:
                self.rows_good += 1
                number = self.rows_good + self.rows_bad
                row = Row(number, dict(zip(columns, cells, strict=True)), self._line)
            pending.clear()
            yield row

    def _checked(self, cells: list[str]) -> Row | BadRow | None:
        """Judge a record that may have something about it; ``None`` for a blank line."""
        first = self._line - len(self._pending) + 1
        flaw = self._take_flaw(first)
        if flaw is not None:
            return self._bad(first, None, flaw[0], flaw[1], cells)
        if not cells or (len(cells) == 1 and not cells[0].strip() and len(self._columns) > 1):
            return None
        for column, cell in zip(self._columns, cells, strict=False):
            if len(cell) > self._limits.field_chars_max:
                reason = f"the cell is too large: {len(cell):,} characters"
                return self._bad(first, column, reason, REMEDIES[Trouble.LARGE_CELL], cells)
        if len(cells) == len(self._columns) or (
            self._fill_short and len(cells) < len(self._columns)
        ):
            return self._good(cells)
        return self._ragged(cells, first)

    def _good(self, cells: list[str]) -> Row:
        self.rows_good += 1
        filled = cells + [""] * (len(self._columns) - len(cells))
        return Row(self._number, dict(zip(self._columns, filled, strict=True)), self._line)

    def _ragged(self, cells: list[str], first: int) -> BadRow:
        width = len(self._columns)
        reason = f"{len(cells)} cells, but the header has {width}"
        if self._line > first:
            reason += f" (lines {first} to {self._line} read as one row, because of a quote)"
        if len(cells) > width:
            remedy = f"Quote cells that contain {self._delimiter!r}, or remove the extra ones."
            return self._bad(first, None, reason, remedy, cells)
        missing = self._columns[len(cells)]
        remedy = (
            f"Add the cells from {missing!r} on; empty ones need their {self._delimiter!r} too."
        )
        return self._bad(first, missing, reason, remedy, cells)

    def _bad(
        self, line: int, column: str | None, reason: str, remedy: str, cells: list[str]
    ) -> BadRow:
        self.rows_bad += 1
        short = (excerpt(cell) if "\0" in cell else cell[:1000] for cell in cells)
        values = dict(zip(self._columns, short, strict=False))
        raw = excerpt("".join(self._pending[:4])[:1000].rstrip("\r\n"))
        return BadRow(self._number, line, column, reason, remedy, raw, values)

    def _take_flaw(self, first: int) -> tuple[str, str] | None:
        found = None
        for line in range(first, self._line + 1):
            found = self._flaws.pop(line, None) or found
        return found

    # -- the slow way

    def _slow_record(self) -> Row | BadRow | None:
        """Read the record on which the reader stopped; put back the lines after it."""
        limits = self._limits
        reader = RecordReader(self._delimiter, limits.field_chars_max, limits.row_chars_max)
        self._put_back(0)
        record = reader.read(self._taken())
        used = record.lines_used if record.trouble is None else 1
        self._put_back(used)
        first = self._line + 1
        self._line += used
        row = self._checked(record.cells) if record.trouble is None else self._broken(record, first)
        self._pending.clear()
        return row

    def _put_back(self, kept: int) -> None:
        """Keep the first lines of the record in hand; the others will be read again."""
        self._again.extendleft(reversed(self._pending[kept:]))
        del self._pending[kept:]

    def _taken(self) -> Iterator[str]:
        for line in chain(self._drained(), self._fresh):
            self._pending.append(line)
            yield line

    def _broken(self, record: Record, first: int) -> BadRow:
        trouble = record.trouble
        assert trouble is not None
        flaw = self._take_flaw(first)
        at = len(record.cells)
        column = self._columns[at] if at < len(self._columns) else None
        if trouble is not Trouble.AFTER_QUOTE or record.lines_used > MANY_LINES:
            self._count_broken_quote(first)
        reason, remedy = flaw or (trouble.value, REMEDIES[trouble])
        if trouble is Trouble.AFTER_QUOTE and record.trouble_line < record.lines_used - 1:
            reason = f"the quote that opens here closes on line {first + record.lines_used - 1}"
        if trouble in (Trouble.LARGE_CELL, Trouble.LARGE_ROW) and flaw is None:
            cap = self._limits.field_chars_max
            cap = self._limits.row_chars_max if trouble is Trouble.LARGE_ROW else cap
            reason += f": more than {cap:,} characters"
        return self._bad(first + record.trouble_line, column, reason, remedy, record.cells)

    def _count_broken_quote(self, line: int) -> None:
        self._broken_quotes += 1
        if self._broken_quotes > self._limits.broken_quotes_max:
            raise InputError(
                f"quotes or cells without an end in {self._broken_quotes} rows",
                place=f"{self.name}, line {line}",
                remedy='Is it a CSV file? Quotes inside cells are written twice: "".',
            )
