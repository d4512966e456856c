"""Where a schedule's rows are: a file, a folder of files, or a query; read anew at each tick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from headrace.config import Limits as LimitSettings
from headrace.errors import InputError
from headrace.schedule_settings import Schedules
from headrace.source import BadRow, Limits, Row, Source
from headrace.store.foreign_query import check_query, queried

PAGE = 500
FILES_MAX = 1000
BYTES_MAX = 1024**3
"""The most that one file may hold when it is unpacked."""
PATH_CHARS_MAX = 1000
_ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".csv.gz", ".tsv.gz", ".jsonl.gz")
_ONE_OF = ("file", "folder", "query")


class OpenSource(Protocol):
    """Opens a file of rows, as ``sources`` does."""

    def __call__(self, path: Path, *, name: str, limits: Limits) -> Source:
        """Return the opened file; raises ``InputError``."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of one file or query; ``columns`` are its columns, where they are known."""

    columns: list[str] | None
    rows: list[Row | BadRow]


def by_hand(
    told: Mapping[str, Any], here: Path, settings: Schedules, tenant: str
) -> dict[str, Any]:
    """Return a source as it is kept that the operator names: any path; photos lie beside it.

    Raises ``InputError``.
    """
    kind = _kind(told)
    if kind == "query":
        return _query(told, settings, tenant)
    path = here / _path(told[kind], kind)
    own = path if kind == "folder" else path.parent
    return {kind: str(path), "folders": [str(own), str(own / "photos")]}


def by_http(told: Mapping[str, Any], settings: Schedules, tenant: str) -> dict[str, Any]:
    """Return a source as it is kept that a tenant names: files lie in its own folder.

    Raises ``InputError``.
    """
    kind = _kind(told)
    if kind == "query":
        return _query(told, settings, tenant)
    within = settings.folder_of(tenant)
    path = _path(told[kind], kind)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{told[kind][:80]!r} is not below your folder",
            place=kind,
            remedy="Name it as it is called in there, as in products.csv.",
        )
    return {kind: str(within / path), "within": str(within)}


def shown(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as its tenant may see it: paths as the tenant named them."""
    told = {name: source[name] for name in (*_ONE_OF, "database") if name in source}
    within = source.get("within")
    for kind in ("file", "folder"):
        if within is not None and kind in told:
            told[kind] = str(Path(told[kind]).relative_to(within))
    return told


def _kind(told: Mapping[str, Any]) -> str:
    named = [name for name in _ONE_OF if told.get(name)]
    if len(named) != 1 or ("database" in told and named != ["query"]):
        raise InputError(
            "a schedule reads one of a file, a folder, or a query of a database", place="source"
        )
    return named[0]


def _query(told: Mapping[str, Any], settings: Schedules, tenant: str) -> dict[str, Any]:
    settings.database(str(told.get("database", "")), tenant)
    return {"query": check_query(told["query"]), "database": told["database"]}


def _path(text: str, kind: str) -> Path:
    if not text.isprintable() or len(text) > PATH_CHARS_MAX or "://" in text or text == "-":
        raise InputError(f"{text[:80]!r} is no path", place=kind)
    return Path(text)


class Reader:
    """Reads what schedules name, page by page, within bounds."""

    def __init__(self, open_source: OpenSource, settings: Schedules, limits: LimitSettings) -> None:
        self._open = open_source
        self._settings = settings
        self._limits = Limits(field_chars_max=limits.field_bytes_max, bytes_max=BYTES_MAX)

    async def pages(self, source: Mapping[str, Any], tenant_id: str) -> AsyncGenerator[Page, None]:
        """Yield the rows of a source as they are now; raises ``InputError``."""
        if "query" in source:
            name = str(source["database"])
            database = self._settings.database(name, tenant_id)
            found = queried(database.url, source["query"], name, database.timeout_s)
            async with aclosing(found) as pages:
                async for columns, rows in pages:
                    yield Page(columns, list(rows))
            return
        for path in await asyncio.to_thread(_files, source):
            async with aclosing(self._of_file(path, source.get("within"))) as read:
                async for page in read:
                    yield page

    async def _of_file(self, path: Path, within: str | None) -> AsyncGenerator[Page, None]:
        name = str(path) if within is None else str(path.relative_to(within))
        try:
            opened = await asyncio.to_thread(self._opened, path, name, within)
            try:
                rows = iter(opened)
                while page := await asyncio.to_thread(lambda: list(islice(rows, PAGE))):
                    yield Page(opened.columns, page)
            finally:
                opened.close()
        # It must not pass for a database that is away, for which all schedules would wait.
        except OSError as error:
            raise InputError(f"it cannot be read: {error.strerror or error}", place=name) from error

    def _opened(self, path: Path, name: str, within: str | None) -> Source:
        real = path.resolve()
        if within is not None and not real.is_relative_to(Path(within).resolve()):
            raise InputError("it leads out of your folder", place=name)
        # A pipe or a device would be waited for without end.
        if real.exists() and not (real.is_file() or real.is_dir()):
            raise InputError("it is no file", place=name)
        return self._open(real if within is not None else path, name=name, limits=self._limits)


def _files(source: Mapping[str, Any]) -> list[Path]:
    """Return the files of a source: the one, or those of the folder in the order of their names."""
    if "file" in source:
        return [Path(source["file"])]
    folder, within = Path(source["folder"]), source.get("within")
    place = str(folder) if within is None else str(folder.relative_to(within))
    try:
        if within is not None and not folder.resolve().is_relative_to(Path(within).resolve()):
            raise InputError("it leads out of your folder", place=place)
        names = sorted(one for one in folder.iterdir() if one.name.lower().endswith(_ENDINGS))
    except OSError as error:
        raise InputError(
            f"the folder cannot be read: {error.strerror or error}",
            place=place,
            remedy="Make it, or check its name and permissions, on the machine of each worker.",
        ) from None
    if len(names) > FILES_MAX:
        raise InputError(
            f"the folder has {len(names):,} files of rows, more than {FILES_MAX:,}",
            place=place,
            remedy="Move those away that are done.",
        )
    return names
