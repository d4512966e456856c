"""The results file: every input row, in its order, beside what became of it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import IO, Any

import msgspec

from headrace.durable import disk_error, replacing
from headrace.errors import UsageError
from headrace.nearest import did_you_mean
from headrace.reports.cells import cell_text, millionths, safe_cell

KINDS = ("csv", "jsonl")
OWN_COLUMNS = (
    "headrace_row",
    "headrace_state",
    "headrace_file",
    "headrace_sha256",
    "headrace_media_type",
    "headrace_bytes",
    "headrace_cached",
    "headrace_attempts",
    "headrace_provider",
    "headrace_model",
    "headrace_moved",
    "headrace_cost_usd",
    "headrace_cost_estimate_usd",
    "headrace_calls_of_unknown_cost",
    "headrace_credits",
    "headrace_error",
    "headrace_remedy",
    "headrace_poster",
)
AMOUNTS = ("headrace_cost_usd", "headrace_cost_estimate_usd", "headrace_credits")
ROWS_AT_ONCE = 500


class ResultRow(msgspec.Struct, frozen=True):
    """One input row and its result; a row that was never accepted has the state ``invalid``.

    ``number`` counts from 1, ``values`` are the input cells by column, ``file`` the public
    name in the output folder, ``poster`` that of the picture beside a film.
    ``cost_microusd`` and ``microcredits`` are integers.
    ``provider`` and ``model`` made it, ``moved`` says why not the first of several.
    ``cost_estimate_microusd`` is no part of the cost: it stands for calls that did not tell
    theirs, and ``cost_unknown`` counts those without even that.
    """

    number: int
    values: dict[str, Any]
    state: str
    file: str | None = None
    sha256: str | None = None
    media_type: str | None = None
    size_bytes: int | None = None
    cached: bool = False
    attempts: int = 0
    provider: str | None = None
    model: str | None = None
    moved: str | None = None
    cost_microusd: int = 0
    cost_estimate_microusd: int = 0
    cost_unknown: int = 0
    microcredits: int = 0
    error: str | None = None
    remedy: str | None = None
    poster: str | None = None

    def own_values(self) -> tuple[Any, ...]:
        """Return the values of ``OWN_COLUMNS``, in that order."""
        return (
            self.number,
            self.state,
            self.file,
            self.sha256,
            self.media_type,
            self.size_bytes,
            self.cached,
            self.attempts,
            self.provider,
            self.model,
            self.moved,
            self._cost_usd(),
            millionths(self.cost_estimate_microusd),
            self.cost_unknown,
            millionths(self.microcredits),
            self.error,
            self.remedy,
            self.poster,
        )

    def _cost_usd(self) -> str | None:
        """Return the true cost; nothing where no call told it, which is not zero."""
        untold = self.cost_estimate_microusd or self.cost_unknown
        return millionths(self.cost_microusd) if self.cost_microusd or not untold else None


class ResultsText:
    """A results file as text: the input's columns first, in their order, then ``OWN_COLUMNS``.

    A column of the input that has one of our names (an earlier results file fed in again)
    keeps its values under ``input_`` and its name. Text that a spreadsheet would execute gets
    an apostrophe before it, unless ``raw``; JSONL is always exact.
    """

    def __init__(self, columns: list[str], *, kind: str = "csv", raw: bool = False) -> None:
        if kind not in KINDS:
            raise UsageError(f"unknown results file {kind!r}", remedy=did_you_mean(kind, KINDS))
        self._columns = list(columns)
        self._names = [*input_names(columns), *OWN_COLUMNS]
        self._encode = _csv_encoder(raw) if kind == "csv" else _jsonl_text
        self._heads = kind == "csv"

    def head(self) -> bytes:
        """Return the line with the names of the columns, nothing for JSONL."""
        return self._encode([self._names], []).encode("utf-8", "replace") if self._heads else b""

    def rows(self, chunk: list[ResultRow]) -> bytes:
        """Return the lines of some rows."""
        cells = [
            [*(row.values.get(column) for column in self._columns), *row.own_values()]
            for row in chunk
        ]
        return self._encode(cells, self._names).encode("utf-8", "replace")


class ResultsWriter:
    """Writes one results file; the one before stays until the new one is whole."""

    def __init__(
        self, path: Path, columns: list[str], *, kind: str = "csv", raw: bool = False
    ) -> None:
        self._path = path
        self._text = ResultsText(columns, kind=kind, raw=raw)

    async def write(self, rows: AsyncIterable[ResultRow]) -> int:
        """Write all rows, which must come in ascending order; return how many.

        Raises ``StorageError`` when the disk does not take the file.
        """
        count, last = 0, 0
        with replacing(self._path) as file:
            file.write(self._text.head())
            chunk: list[ResultRow] = []
            async for row in rows:
                if row.number <= last:
                    raise ValueError(f"row {row.number} after row {last}: rows must ascend")
                last, count = row.number, count + 1
                chunk.append(row)
                if len(chunk) == ROWS_AT_ONCE:
                    await self._flush(file, chunk)
                    chunk = []
            await self._flush(file, chunk)
        return count

    async def _flush(self, file: IO[bytes], chunk: list[ResultRow]) -> None:
        work: Callable[[], int] = lambda: file.write(self._text.rows(chunk))  # noqa: E731
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise disk_error(error) from error


def input_names(columns: list[str]) -> list[str]:
    """Return the input's columns under names that do not clash with ours or one another."""
    taken, names = {*OWN_COLUMNS, *columns}, []
    for column in columns:
        name = column
        if column in OWN_COLUMNS:
            name = f"input_{column}"
            while name in taken:
                name = f"input_{name}"
            taken.add(name)
        names.append(name)
    return names


def _csv_encoder(raw: bool) -> Callable[[list[list[Any]], list[str]], str]:
    finish: Callable[[str], str] = str if raw else safe_cell

    def encode(rows: list[list[Any]], names: list[str]) -> str:
        text = io.StringIO(newline="")
        # CRLF, because only then does the csv module quote a lone CR as well as a lone LF.
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerows([finish(cell_text(value)) for value in row] for row in rows)
        return text.getvalue()

    return encode


def _jsonl_text(rows: list[list[Any]], names: list[str]) -> str:
    lines = []
    for row in rows:
        line = dict(zip(names, row, strict=True))
        line |= {name: float(line[name]) for name in AMOUNTS if line[name] is not None}
        lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    return "".join(lines)


async def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write ``report`` as indented JSON, whole or not at all; raises ``StorageError``."""

    def write() -> None:
        with replacing(path) as file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "replace"))
            file.write(b"\n")

    await asyncio.to_thread(write)
