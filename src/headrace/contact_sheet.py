"""Draws a contact sheet: one handsome picture of a whole batch, tile by tile.

Pictures are opened one after the other and only their thumbnails stay, so the memory
needed is the sheet's own, however many and large the pictures are.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from headrace.errors import InputError

FONTS = Path(__file__).resolve().parent / "fonts"
SOURCE_PIXELS_MAX = 50_000_000
TILES_MAX = 1000
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_READ = ("PNG", "JPEG", "WEBP", "GIF")

_PAPER, _INK, _QUIET = "#f4f6fa", "#0f172a", "#64748b"
_FAILED, _FAILED_INK, _MARK = "#e2e6ee", "#475569", "#b91c1c"
_EDGE, _GAP, _HEAD, _CAPTION = 40, 20, 118, 38
_REEL = "#334155"
_RADIUS = 12
# The caption fonts have no emoji; a caption without is better than one with boxes.
_SPACES = re.compile("[ \\t\\r\\n]+")
_PICTOGRAMS = re.compile("[\u200d\u2600-\u27bf\ufe0f\U0001f000-\U0001faff\U000e0000-\U000e007f]")


@dataclass(frozen=True, slots=True)
class FailedTile:
    """Stands for a row that has no picture; ``reason`` is written on its tile."""

    reason: str


@dataclass(frozen=True, slots=True)
class TextTile:
    """Stands for a row that is a text; its first words are written on its tile."""

    text: str


@dataclass(frozen=True, slots=True)
class FilmTile:
    """Stands for a film: its poster, ``None`` where there is none, under a sign to play it."""

    poster: Path | bytes | None = None


Picture = Path | bytes | FailedTile | TextTile | FilmTile | None
TEXT_CHARS_MAX = 600
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_MARKS = re.compile(r"^[ \t]*[#>*-]+[ \t]+|[*_`]", re.MULTILINE)


@dataclass(slots=True)
class _Counts:
    drawn: int = 0
    failed: int = 0
    left_out: int = 0

    def words(self) -> str:
        total = self.drawn + self.failed + self.left_out
        parts = [f"{total:,} rows" if total != 1 else "1 row"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.left_out:
            parts.append(f"the first {self.drawn + self.failed:,} shown")
        return "  ·  ".join(parts)


def contact_sheet(
    images: Iterable[tuple[str, Picture]],
    out: Path,
    columns: int | None = None,
    limit: int = 200,
    *,
    title: str = "Contact sheet",
    tile_px: tuple[int, int] = (252, 132),
) -> Path:
    """Draw up to ``limit`` pictures with their labels into ``out`` (PNG or JPEG).

    ``images`` yields a label and a picture: a path, bytes, a ``TextTile``, a ``FilmTile``,
    or a ``FailedTile`` with the reason (``None`` is one without). What cannot be read
    becomes a failed tile. Tiles are ``tile_px`` large; pictures keep their shape inside.
    Returns ``out``. Raises ``InputError`` for another extension or sizes below 1.
    """
    kind = _FORMATS.get(out.suffix.lower())
    if kind is None:
        raise InputError(
            f"a contact sheet is a PNG or JPEG file, not {out.name!r}",
            remedy="Name it contact-sheet.png.",
        )
    if limit < 1 or (columns is not None and columns < 1) or min(tile_px) < 32:
        raise InputError(f"columns {columns}, limit {limit} and tile {tile_px} make no sheet")
    tiles, counts = _gather(images, min(limit, TILES_MAX), tile_px)
    sheet = _lay_out(tiles, columns or _columns(len(tiles), tile_px), tile_px, title, counts)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    if kind == "JPEG":
        sheet.save(part, kind, quality=88)
    else:
        sheet.save(part, kind, compress_level=3)
    part.replace(out)
    return out


def _columns(count: int, tile_px: tuple[int, int]) -> int:
    """As many as make the sheet about as wide as it is high, but at most ten."""
    width, height = tile_px
    ideal = math.sqrt(max(1, count) * 1.25 * (height + _CAPTION + _GAP) / (width + _GAP))
    return max(1, min(10, max(min(3, count), round(ideal))))


def _gather(
    images: Iterable[tuple[str, Picture]], limit: int, tile_px: tuple[int, int]
) -> tuple[list[tuple[str, Image.Image]], _Counts]:
    tiles: list[tuple[str, Image.Image]] = []
    counts = _Counts()
    for label, picture in images:
        if len(tiles) >= limit:
            counts.left_out += 1
            continue
        thumbnail, reason = _drawn(picture, tile_px)
        if thumbnail is None:
            counts.failed += 1
            thumbnail = _failed_tile(reason, tile_px)
        else:
            counts.drawn += 1
        tiles.append((label, thumbnail))
    return tiles, counts


def _drawn(picture: Picture, tile_px: tuple[int, int]) -> tuple[Image.Image | None, str]:
    """Return the tile of a picture or film, or why there is none."""
    if not isinstance(picture, FilmTile):
        return _thumbnail(picture, tile_px)
    tile = None if picture.poster is None else _thumbnail(picture.poster, tile_px)[0]
    # A film whose poster cannot be read is still a film that was made.
    return _with_sign(tile or Image.new("RGB", tile_px, _REEL)), ""


def _with_sign(tile: Image.Image) -> Image.Image:
    """Draw the sign to play over a tile, smoothly."""
    side = max(24, min(tile.size) // 3) * 4
    disc, arrow = Image.new("L", (side, side), 0), Image.new("L", (side, side), 0)
    ImageDraw.Draw(disc).ellipse((0, 0, side - 1, side - 1), fill=175)
    points = [(side * 0.40, side * 0.29), (side * 0.40, side * 0.71), (side * 0.74, side * 0.5)]
    ImageDraw.Draw(arrow).polygon(points, fill=255)
    small = (side // 4, side // 4)
    at = ((tile.width - small[0]) // 2, (tile.height - small[1]) // 2)
    for color, mask in ((_INK, disc), ("white", arrow)):
        tile.paste(color, (*at, at[0] + small[0], at[1] + small[1]), mask.resize(small))
    return tile


def _thumbnail(
    picture: Path | bytes | FailedTile | TextTile | None, tile_px: tuple[int, int]
) -> tuple[Image.Image | None, str]:
    if isinstance(picture, TextTile):
        return _text_tile(picture.text, tile_px), ""
    if picture is None or isinstance(picture, FailedTile):
        return None, picture.reason if picture else "no picture"
    source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(source, formats=_READ)
        with image:
            if image.width * image.height > SOURCE_PIXELS_MAX:
                return None, "too large to show"
            image.draft("RGB", tile_px)
            small = image.convert("RGB" if _opaque(image) else "RGBA")
            small.thumbnail(tile_px, Image.Resampling.LANCZOS, reducing_gap=2.0)
    except FileNotFoundError:
        return None, "file not found"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None, "not a picture"
    return _on_tile(small, tile_px), ""


def _opaque(image: Image.Image) -> bool:
    if image.mode == "RGBA":
        return image.getchannel("A").getextrema()[0] == 255
    return image.mode in ("RGB", "L", "CMYK", "YCbCr") and "transparency" not in image.info


def _on_tile(small: Image.Image, tile_px: tuple[int, int]) -> Image.Image:
    if small.size == tile_px:
        return small.convert("RGB")
    tile = Image.new("RGB", tile_px, "#dfe4ee")
    place = ((tile_px[0] - small.width) // 2, (tile_px[1] - small.height) // 2)
    tile.paste(small, place, small if small.mode == "RGBA" else None)
    return tile


def _failed_tile(reason: str, tile_px: tuple[int, int]) -> Image.Image:
    width, height = tile_px
    tile = Image.new("RGB", tile_px, _FAILED)
    draw = ImageDraw.Draw(tile)
    font = _font("Inter-Medium", 14)
    lines = _wrapped(draw, reason or "failed", font, width - 40, 3)
    block = 30 + 14 + len(lines) * 20
    top = (height - block) / 2
    middle = width / 2
    draw.polygon([(middle, top), (middle + 17, top + 30), (middle - 17, top + 30)], fill=_MARK)
    draw.text((middle, top + 20), "!", font=_font("Inter-Bold", 17), fill="white", anchor="mm")
    for number, line in enumerate(lines):
        draw.text((middle, top + 54 + number * 20), line, font=font, fill=_FAILED_INK, anchor="mm")
    return tile


def _text_tile(text: str, tile_px: tuple[int, int]) -> Image.Image:
    """A page's first words, its front matter and Markdown's marks left out."""
    width, height = tile_px
    words = _PICTOGRAMS.sub("", _MARKS.sub("", _FRONT.sub("", text)))[:TEXT_CHARS_MAX]
    tile = Image.new("RGB", tile_px, "white")
    draw = ImageDraw.Draw(tile)
    font = _font(_face_for(words), 13)
    lines_max = max(1, (height - 20) // 18)
    for number, line in enumerate(_wrapped(draw, words, font, width - 28, lines_max)):
        draw.text((14, 24 + number * 18), line, font=font, fill=_FAILED_INK, anchor="ls")
    return tile


def _lay_out(
    tiles: list[tuple[str, Image.Image]],
    columns: int,
    tile_px: tuple[int, int],
    title: str,
    counts: _Counts,
) -> Image.Image:
    width, height = tile_px
    rows = max(1, math.ceil(len(tiles) / columns))
    sheet_w = max(2 * _EDGE + columns * width + (columns - 1) * _GAP, 420)
    sheet_h = _HEAD + rows * (height + _CAPTION) + (rows - 1) * _GAP + _EDGE
    sheet = Image.new("RGB", (sheet_w, sheet_h), _PAPER)
    draw = ImageDraw.Draw(sheet)
    room = sheet_w - 2 * _EDGE
    big, small = _font("InterDisplay-Bold", 30), _font("Inter-Medium", 16)
    draw.text((_EDGE, 62), _cut(draw, title, big, room), font=big, fill=_INK, anchor="ls")
    draw.text(
        (_EDGE, 91), _cut(draw, counts.words(), small, room), font=small, fill=_QUIET, anchor="ls"
    )
    corners = _corners(tile_px)
    for index, (label, tile) in enumerate(tiles):
        x = _EDGE + index % columns * (width + _GAP)
        y = _HEAD + index // columns * (height + _CAPTION + _GAP)
        sheet.paste(tile, (x, y), corners)
        _caption(draw, f"{index + 1}", label, (x, y + height + 23), width)
    return sheet


def _caption(
    draw: ImageDraw.ImageDraw, number: str, label: str, at: tuple[int, int], width: int
) -> None:
    bold = _font("Inter-SemiBold", 14)
    draw.text(at, number, font=bold, fill=_INK, anchor="ls")
    left = draw.textlength(number, font=bold) + 9
    font = _font(_face_for(label), 14)
    if "NotoSansJP" in str(font.path):  # it has no narrow space
        label = "\u3000".join(label.split())
    text = _cut(draw, label, font, width - left)
    draw.text((at[0] + left, at[1]), text, font=font, fill=_QUIET, anchor="ls")


def _corners(tile_px: tuple[int, int]) -> Image.Image:
    large = Image.new("L", (tile_px[0] * 4, tile_px[1] * 4), 0)
    box = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(box, _RADIUS * 4, fill=255)
    return large.resize(tile_px, Image.Resampling.LANCZOS)


@lru_cache(maxsize=32)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    path = next(FONTS.glob(f"{face}.*"))
    return ImageFont.truetype(path, size, layout_engine=_layout())


def _layout() -> ImageFont.Layout:
    """Arabic needs shaping, which Pillow does where it was built with Raqm."""
    return ImageFont.Layout.RAQM if features.check("raqm") else ImageFont.Layout.BASIC


def _face_for(text: str) -> str:
    """Captions have one font each: the one for the first letter outside Latin."""
    for letter in text:
        code = ord(letter)
        if 0x0600 <= code < 0x0900 or 0xFB50 <= code < 0xFF00:
            return "NotoSansArabic-Regular"
        if 0x3000 <= code < 0xA000 or 0xFF00 <= code < 0xFFF0:
            return "NotoSansJP-Regular"
    return "Inter-Regular"


def _cut(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    text = _SPACES.sub(" ", _PICTOGRAMS.sub("", text)).strip()[:400]
    if draw.textlength(text, font=font) <= room:
        return text
    while text and draw.textlength(f"{text}…", font=font) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _wrapped(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: float, lines_max: int
) -> list[str]:
    lines: list[str] = []
    words = text.split()[:120]
    while words and len(lines) < lines_max:
        line = words.pop(0)
        while words and draw.textlength(f"{line} {words[0]}", font=font) <= room:
            line += f" {words.pop(0)}"
        if words and len(lines) == lines_max - 1:
            line += f" {words[0]}…"
        lines.append(_cut(draw, line, font, room))
    return lines
