"""Renders rows through templates: checks the row, hands it to a worker, names what failed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from headrace.errors import HeadraceError
from headrace.nearest import did_you_mean
from headrace.providers.typst_engine.catalog import (
    Catalog,
    Template,
    TemplateColumn,
    builtin_fonts,
    builtin_templates,
)
from headrace.providers.typst_engine.faults import (
    BY_CODE,
    RendererClosedError,
    TemplateError,
    TemplateMemoryError,
    TemplateTimeoutError,
    WorkerCrashError,
)
from headrace.providers.typst_engine.job import Cell, Format, Rendered, RenderJob
from headrace.providers.typst_engine.message import Answer, Order, PhotoOrder, pack
from headrace.providers.typst_engine.pool import WorkerLost, WorkerPool

MEMORY_LIMIT_BYTES = 512 * 1024 * 1024
_COLOR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_QUALITY = {Format.WEBP: 86, Format.JPEG: 90}
# Control characters draw nothing and JSON allows them: only line ends and tabs stay.
_CONTROLS = {code: None for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: None}
_SCALE_MAX = 4.0
_POINTS_PER_INCH = 72.0


class Renderer:
    """Turns rows into pictures with the templates of some folders.

    User folders come first, the built-in templates last. Use it as an async context
    manager, or call ``close``. It belongs to the event loop that first renders.
    """

    def __init__(
        self,
        template_folders: Sequence[Path] = (),
        workers: int | None = None,
        timeout_s: float = 20.0,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        *,
        font_folders: Sequence[Path] = (),
        renders_max: int = 2000,
    ) -> None:
        fonts = (builtin_fonts(), *font_folders)
        self._root = Path(tempfile.mkdtemp(prefix="headrace-render-")).resolve()
        self._catalog = Catalog((*template_folders, builtin_templates()), fonts, self._root)
        self._timeout_s = timeout_s
        self._memory_limit_bytes = memory_limit_bytes
        self._closed = False
        self._pool = WorkerPool(
            self._root,
            tuple(str(folder) for folder in fonts),
            size=workers or _cores(),
            memory_limit_bytes=memory_limit_bytes,
            renders_max=renders_max,
        )

    async def __aenter__(self) -> Renderer:
        await self.warm()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def workers(self) -> int:
        """Return how many renders run at the same time."""
        return self._pool.size

    @property
    def worker_pids(self) -> list[int]:
        """Return the process ids of the living workers."""
        return self._pool.pids

    def templates(self) -> list[str]:
        """Return the names of all templates, sorted."""
        return self._catalog.names()

    def template_version(self, name: str) -> str:
        """Return the SHA-256 (hex) of everything but the row that decides a picture's bytes.

        That is the template's files, what it shares, the fonts, Typst and Pillow. Raises
        ``TemplateMissingError`` and ``TemplateError``.
        """
        return self._find(name).version

    def template_columns(self, name: str) -> tuple[TemplateColumn, ...]:
        """Return the declared parameters, empty when the template takes any column.

        Raises ``TemplateMissingError`` and ``TemplateError``.
        """
        return self._find(name).columns or ()

    def template_size_px(self, name: str) -> tuple[int, int]:
        """Return the declared width and height, zeros when none are declared."""
        template = self._find(name)
        return template.width_px, template.height_px

    async def warm(self) -> None:
        """Start all workers now; raises ``WorkerCrashError`` when they cannot start."""
        try:
            await self._pool.warm()
        except WorkerLost as loss:
            raise _crash("the render workers", loss) from loss

    async def close(self) -> None:
        """End all workers and remove the private folder; renders under way fail."""
        self._closed = True
        await self._pool.close()
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    async def render(self, job: RenderJob) -> Rendered:
        """Return the picture of one row.

        Raises ``TemplateMissingError``, ``TemplateError`` (and its kinds for time, memory
        and crash), ``PhotoMissingError``, ``PhotoRefusedError``, ``RendererClosedError``.
        """
        template = self._find(job.template)
        order = _order(template, job)
        try:
            answer = await self._pool.exchange(pack(order), self._timeout_s)
        except WorkerLost as loss:
            raise self._lost(job.template, loss) from loss
        if answer.error:
            raise _error(answer)
        width, height = answer.width, answer.height
        if job.format is Format.PDF:
            width, height = template.width_px, template.height_px
        return Rendered(answer.body, job.format.media_type, width, height, answer.warnings)

    def _find(self, name: str) -> Template:
        if self._closed:
            raise RendererClosedError("the renderer is closed", remedy="Open a new one.")
        return self._catalog.find(name)

    def _lost(self, template: str, loss: WorkerLost) -> HeadraceError:
        if self._closed:
            return RendererClosedError("the renderer was closed during a render")
        if loss.reason == "time":
            return TemplateTimeoutError(
                f"template {template!r} took longer than {self._timeout_s:g} s",
                remedy="Look for a loop in it that never ends, or raise the time limit.",
            )
        if loss.reason == "memory":
            limit = self._memory_limit_bytes // (1024 * 1024)
            return TemplateMemoryError(
                f"template {template!r} needed more than {limit} MB of memory",
                remedy="Look for a list or text in it that grows, or raise the memory limit.",
            )
        return _crash(f"the worker that rendered template {template!r}", loss)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _crash(who: str, loss: WorkerLost) -> WorkerCrashError:
    return WorkerCrashError(
        f"{who} ended: {loss.detail or loss.reason}",
        remedy="Another worker takes its place. If it happens again, report the row.",
    )


def _error(answer: Answer) -> HeadraceError:
    kind = BY_CODE.get(answer.error, TemplateError)
    return kind(answer.message, remedy=answer.remedy, place=answer.place)


def _order(template: Template, job: RenderJob) -> Order:
    if not 0 < job.scale <= _SCALE_MAX:
        raise TemplateError(
            f"scale {job.scale} is not between 0 and {_SCALE_MAX:g}",
            remedy="Use 1 for the template's own size.",
        )
    data: dict[str, Cell] = {name: _clean(value) for name, value in job.data.items()}
    columns = template.columns
    if columns is None:
        photo = TemplateColumn("photo", kind="photo")
        columns = (photo,) if "photo" in data else ()
    else:
        data = _declared(template.name, columns, data)
    photos = tuple(_photo(column, data, job.scale) for column in columns if column.kind == "photo")
    row: dict[str, Any] = {name: data[name] for name in data.keys() - {p.parameter for p in photos}}
    return Order(
        main=template.main,
        row=json.dumps(row, ensure_ascii=False, sort_keys=True),
        photos=photos,
        folders=tuple(str(folder) for folder in job.photo_folders),
        photo_fallback=job.photo_fallback,
        format=Format(job.format).value,
        ppi=_POINTS_PER_INCH * job.scale,
        quality=_QUALITY.get(job.format, 90) if job.quality is None else job.quality,
    )


def _clean(value: Cell) -> Cell:
    if isinstance(value, str):
        # A lone surrogate cannot be written as UTF-8.
        return value.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8").strip()
    if isinstance(value, list):
        return [str(_clean(entry)) for entry in value]
    return value


def _declared(
    name: str, columns: tuple[TemplateColumn, ...], data: dict[str, Cell]
) -> dict[str, Cell]:
    """Return one value for each declared parameter; raises ``TemplateError``."""
    known = {column.name for column in columns}
    for key in data:
        if key not in known:
            raise TemplateError(
                f"template {name!r} has no parameter {key!r}", remedy=did_you_mean(key, known)
            )
    return {column.name: _value(name, column, data.get(column.name)) for column in columns}


def _value(name: str, column: TemplateColumn, value: Cell) -> Cell:
    if value is None or value == "" or value == []:
        if column.required:
            raise TemplateError(
                f"template {name!r} needs {column.name!r}, and the row has none",
                remedy=f"Fill the column. {column.name}: {column.doc}",
            )
        return column.default
    if isinstance(value, bytes) and column.kind != "photo":
        raise TemplateError(f"{column.name!r} of template {name!r} is not a photo, but got bytes")
    if column.kind == "color" and not _COLOR.fullmatch(str(value)):
        raise TemplateError(
            f"{column.name} {value!r} is not a color", remedy="Write it as #rrggbb, like #f59e0b."
        )
    if column.kind == "list" and not isinstance(value, list):
        return [part.strip() for part in re.split(r"[\n;]", str(value)) if part.strip()]
    return value


def _photo(column: TemplateColumn, data: dict[str, Cell], scale: float) -> PhotoOrder:
    value = data.get(column.name)
    if value is not None and not isinstance(value, str | bytes):
        raise TemplateError(f"photo {column.name!r} is a path or bytes, not {value!r}")
    return PhotoOrder(
        parameter=column.name,
        path=value if isinstance(value, str) else None,
        body=value if isinstance(value, bytes) else None,
        longest_px=max(64, round(column.longest_px * max(1.0, scale))),
    )
