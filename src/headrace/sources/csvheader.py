"""The header of a CSV file: its delimiter, and columns that can be told apart."""

from __future__ import annotations

import csv
import io

from headrace.errors import InputError
from headrace.source import Limits, excerpt
from headrace.sources.csvrecord import RecordReader

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_RECORDS = 20
SAMPLE_CHARS = 32 * 1024


def sniff_delimiter(head: str) -> str:
    """Return the delimiter that cuts the header, and the rows after it, most evenly.

    ``head`` is the beginning of the text. A comma is returned where nothing separates.
    """
    sample = head[:SAMPLE_CHARS]
    if len(head) > SAMPLE_CHARS:
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = _widths(sample, delimiter)
        if widths and widths[0] > 1:
            even = sum(1 for width in widths if width == widths[0]) / len(widths)
            # Half a file of ragged rows must not beat a delimiter that cuts the header finely.
            score = (round(even, 1), widths[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _widths(sample: str, delimiter: str) -> list[int]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    widths: list[int] = []
    try:
        for cells in reader:
            if cells:
                widths.append(len(cells))
            if len(widths) >= SAMPLE_RECORDS:
                break
    except csv.Error:
        # A broken row further down is for the reader to report; the rows before it count.
        return widths
    return widths


def named_delimiter(first_line: str) -> str | None:
    """Return the delimiter that Excel's own first line ``sep=;`` names, if this is one."""
    line = first_line.strip()
    return line[4] if len(line) == 5 and line.lower().startswith("sep=") else None


def read_header(
    line: str, delimiter: str, limits: Limits, name: str, line_number: int
) -> list[str]:
    """Return the columns named by the header line, stripped of spaces around them.

    Raises ``InputError`` when a quote stays open, a name is empty or two are the same.
    """
    record = RecordReader(delimiter, limits.field_chars_max, limits.row_chars_max).read([line])
    place = f"{name}, line {line_number}"
    if record.trouble is not None:
        raise InputError(
            f"the header cannot be read: {record.trouble.value}, in cell {len(record.cells) + 1}",
            place=place,
            remedy=f"The header is one line of column names; it begins: {excerpt(line)}",
        )
    columns = [cell.strip() for cell in record.cells]
    if len(columns) > limits.columns_max:
        raise InputError(
            f"{len(columns):,} columns, more than {limits.columns_max:,}",
            place=place,
            remedy="Is the first line really the header? Remove columns that are not needed.",
        )
    _check_names(columns, place)
    return columns


def _check_names(columns: list[str], place: str) -> None:
    seen: dict[str, int] = {}
    for number, column in enumerate(columns, start=1):
        if not column:
            after = f", after {columns[number - 2]!r}" if number > 1 else ""
            raise InputError(
                f"column {number} has no name{after}",
                place=place,
                remedy="Name every column in the first line, or remove the empty ones.",
            )
        if "\0" in column:
            raise InputError(
                f"the name of column {number} contains a NUL byte",
                place=place,
                remedy="Remove it, for example with: tr -d '\\000' < FILE > CLEAN",
            )
        if column in seen:
            raise InputError(
                f"columns {seen[column]} and {number} are both named {column!r}",
                place=place,
                remedy="Rename one of them: a template could not tell them apart.",
            )
        seen[column] = number
