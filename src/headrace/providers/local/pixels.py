"""Work on pictures: open under caps, resize, lay a mark over, encode; plain functions of bytes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from headrace.errors import InputError

PIXELS_MAX = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_FONT = Path(__file__).resolve().parents[1] / "fonts" / "Inter-SemiBold.otf"
_MARGIN_SHARE = 0.03
_DAMAGED = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def measured(body: bytes) -> int:
    """Return how many pixels the header of a picture announces, zero for what is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(body), formats=FORMATS) as image:
                return image.width * image.height
    except _DAMAGED:
        return 0


def open_picture(body: bytes) -> Image.Image:
    """Return the decoded picture, upright, in ``RGB`` or ``RGBA``.

    The format and the number of pixels are read from the header first. Raises
    ``InputError`` for other formats, too many pixels, and damaged files.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(body), formats=FORMATS)
            width, height = image.size
            if width * height > PIXELS_MAX:
                raise InputError(
                    f"the picture has {width} x {height} pixels; "
                    f"{PIXELS_MAX // 1_000_000} megapixels are allowed",
                    remedy="Ask the stage before for a smaller one.",
                )
            picture = ImageOps.exif_transpose(image)
            mode = "RGBA" if picture.has_transparency_data else "RGB"
            drawn = picture.convert(mode)
    except _DAMAGED as error:
        raise InputError(
            f"not a PNG, JPEG, WebP or GIF picture, or a damaged one: {error}",
            remedy="Look at what the stage before gave.",
        ) from error
    drawn.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
    drawn.format = image.format
    return drawn


def resized(image: Image.Image, params: dict[str, Any]) -> Image.Image:
    """Return ``image`` in the size that ``width``, ``height`` and ``fit`` ask for."""
    width, height, fit = params.get("width"), params.get("height"), params.get("fit", "inside")
    if width is None and height is None:
        return image
    box = (width or PIXELS_MAX, height or PIXELS_MAX)
    lanczos = Image.Resampling.LANCZOS
    if fit == "cover":
        drawn = ImageOps.fit(image, box, lanczos)
    elif fit == "contain":
        color = ImageColor.getrgb(params.get("background", "#ffffff"))
        drawn = _padded(ImageOps.contain(image, box, lanczos), box, color)
    else:
        scale = min(1.0, box[0] / image.width, box[1] / image.height)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        drawn = image if size == image.size else image.resize(size, lanczos, reducing_gap=3.0)
    drawn.info = image.info
    drawn.format = image.format
    return drawn


def _padded(image: Image.Image, box: tuple[int, int], color: tuple[int, ...]) -> Image.Image:
    mode = "RGBA" if len(color) == 4 and color[3] < 255 else "RGB"
    ground = Image.new(mode, box, color)
    place = ((box[0] - image.width) // 2, (box[1] - image.height) // 2)
    ground.paste(image, place, image if image.mode == "RGBA" else None)
    return ground


def marked(image: Image.Image, params: dict[str, Any], mark: bytes | None) -> Image.Image:
    """Return ``image`` with the text of ``params``, or the picture ``mark``, laid over it."""
    width = max(1, round(image.width * params["size"]))
    if mark is None:
        stamp = _text_stamp(str(params["text"]), width)
    else:
        stamp = open_picture(mark).convert("RGBA")
        height = max(1, round(stamp.height * width / stamp.width))
        stamp = stamp.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    opacity = float(params["opacity"])
    stamp.putalpha(stamp.getchannel("A").point(lambda alpha: round(alpha * opacity)))
    layer = Image.new("RGBA", image.size)
    for place in _places(params["position"], image.size, stamp.size):
        layer.paste(stamp, place)
    drawn = Image.alpha_composite(image.convert("RGBA"), layer)
    drawn = drawn if image.mode == "RGBA" else drawn.convert("RGB")
    drawn.info, drawn.format = image.info, image.format
    return drawn


def _text_stamp(text: str, width: int) -> Image.Image:
    """Return ``text`` drawn ``width`` pixels wide, white with a dark edge that shows anywhere."""
    probe = _font(100)
    left, _, right, _ = probe.getbbox(text)
    size = max(8.0, 100 * width / max(1.0, right - left))
    font, edge = _font(size), max(1, round(size / 24))
    box = font.getbbox(text, stroke_width=edge)
    size_px = (max(1, int(box[2] - box[0])), max(1, int(box[3] - box[1])))
    stamp = Image.new("RGBA", size_px)
    ImageDraw.Draw(stamp).text(
        (-box[0], -box[1]),
        text,
        fill="white",
        font=font,
        stroke_width=edge,
        stroke_fill=(0, 0, 0, 160),
    )
    return stamp


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if _FONT.is_file():
        return ImageFont.truetype(_FONT, size)
    return ImageFont.load_default(size)


def _places(
    position: str, ground: tuple[int, int], stamp: tuple[int, int]
) -> list[tuple[int, int]]:
    if position == "tile":
        step_x, step_y = stamp[0] * 3 // 2 + 1, stamp[1] * 3 + 1
        return [
            (x - (step_x // 2 if row % 2 else 0), y)
            for row, y in enumerate(range(0, ground[1], step_y))
            for x in range(0, ground[0] + step_x, step_x)
        ]
    margin = round(min(ground) * _MARGIN_SHARE)
    x, y = (ground[0] - stamp[0]) // 2, (ground[1] - stamp[1]) // 2
    if "left" in position:
        x = margin
    if "right" in position:
        x = ground[0] - stamp[0] - margin
    if "top" in position:
        y = margin
    if "bottom" in position:
        y = ground[1] - stamp[1] - margin
    return [(x, y)]


def encoded(image: Image.Image, params: dict[str, Any]) -> tuple[bytes, str]:
    """Return the picture's bytes and media type; the format stays unless ``format`` is set."""
    kept = (image.format or "PNG").lower()
    name = params.get("format") or (kept if kept in ("png", "jpeg", "webp") else "png")
    if name == "jpeg" and image.mode == "RGBA":
        info, image = image.info, _padded(image, image.size, (255, 255, 255))
        image.info = info
    more: dict[str, Any] = {}
    if "icc_profile" in image.info:
        more["icc_profile"] = image.info["icc_profile"]
    if name != "png":
        more["quality"] = params.get("quality", 90 if name == "jpeg" else 86)
    out = io.BytesIO()
    image.save(out, name.upper(), **more)
    return out.getvalue(), f"image/{name}"


def is_blank(image: Image.Image) -> bool:
    """Tell whether the picture is one single color, or wholly transparent."""
    # Several bands, so a pair for each; typed as one pair by Pillow's stubs.
    ranges: list[Any] = list(image.getextrema())
    if image.mode == "RGBA" and ranges[3] == (0, 0):
        return True
    return all(low == high for low, high in ranges)
