"""Compiles one order to a picture inside a worker: Typst for the page, Pillow for WebP and JPEG."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typst
from PIL import Image

from headrace.photo import PhotoMissingError
from headrace.providers.typst_engine.diagnostics import explain
from headrace.providers.typst_engine.faults import TemplateError
from headrace.providers.typst_engine.message import Answer, Order, PhotoOrder
from headrace.providers.typst_engine.photo import PhotoShelf

# 2000-01-01: a PDF holds its time of making, and the same row must give the same bytes.
_PDF_EPOCH_S = 946_684_800
PAGE_PIXELS_MAX = 50_000_000


class Typesetter:
    """One warm Typst compiler with the bundled fonts, confined to ``root``."""

    def __init__(self, root: Path, font_folders: tuple[str, ...], photo_folder: Path) -> None:
        self._root = root
        self._shelf = PhotoShelf(photo_folder)
        empty = root / "packages"
        empty.mkdir(exist_ok=True)
        self._compiler = typst.Compiler(
            root=root,
            font_paths=typst.Fonts(
                include_system_fonts=False,
                include_embedded_fonts=False,
                font_paths=list(font_folders),
            ),
            ignore_system_fonts=True,
            package_path=empty,
            package_cache_path=empty,
        )

    def set(self, order: Order) -> Answer:
        """Return the finished picture; raises ``TemplateError`` and ``PhotoError``."""
        row = json.loads(order.row)
        for photo in order.photos:
            row[photo.parameter] = self._photo(photo, order)
        name = Path(order.main).stem
        as_pdf = order.format == "pdf"
        with _explained(name, row):
            pages, warnings = self._compiler.compile_with_warnings(
                self._root / order.main,
                format="pdf" if as_pdf else "png",
                ppi=order.ppi,
                sys_inputs={"row": json.dumps(row, ensure_ascii=False)},
                timestamp=_PDF_EPOCH_S,
            )
        if not isinstance(pages, bytes):
            raise TemplateError(
                f"template {name!r} made {len(pages or [])} pages instead of one",
                remedy="Keep the content inside the page, or render it as PDF.",
            )
        words = tuple(dict.fromkeys(warning.message for warning in warnings))
        if as_pdf:
            return Answer(body=pages, warnings=words)
        return _encode(pages, order, words)

    def _photo(self, photo: PhotoOrder, order: Order) -> str | None:
        if photo.body is not None:
            file = self._shelf.from_bytes(photo.body, photo.parameter, photo.longest_px)
        elif photo.path:
            folders = [Path(folder) for folder in order.folders]
            try:
                file = self._shelf.from_path(photo.path, folders, photo.longest_px)
            except PhotoMissingError:
                if not order.photo_fallback:
                    raise
                return None
        else:
            return None
        return "/" + file.relative_to(self._root).as_posix()


@contextmanager
def _explained(name: str, row: dict[str, object]) -> Iterator[None]:
    try:
        yield
    except typst.TypstError as error:
        raise explain(name, error.message, error.diagnostic, error.hints, row) from error


def _encode(png: bytes, order: Order, warnings: tuple[str, ...]) -> Answer:
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    if width * height > PAGE_PIXELS_MAX:
        raise TemplateError(
            f"the page has {width} x {height} pixels; {PAGE_PIXELS_MAX:,} are allowed",
            remedy="Use a smaller page or scale.",
        )
    if order.format == "png":
        return Answer(body=png, width=width, height=height, warnings=warnings)
    out = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as page:
        if order.format == "webp":
            page.save(out, "WEBP", quality=order.quality, method=4)
        else:
            page.convert("RGB").save(out, "JPEG", quality=order.quality, subsampling=0)
    return Answer(body=out.getvalue(), width=width, height=height, warnings=warnings)
