"""Draws the film that simulated providers give, a turning mill wheel, into the package.

    python -m bench.film

Run it only to change the film: what it writes is part of the package.
"""

from __future__ import annotations

import math
from pathlib import Path

import av
from PIL import Image, ImageDraw

TARGET = Path(__file__).parents[1] / "src" / "headrace" / "film.mp4"
WIDTH_PX, HEIGHT_PX = 320, 180
RATE, FRAMES = 8, 24
LARGER = 3
_SKY, _WATER, _TIMBER, _FOAM = "#dbe7f5", "#2f6f9f", "#5b3a1e", "#f4f8fc"


def frame(number: int) -> Image.Image:
    """Draw one frame: over the whole film the wheel makes half a turn."""
    width, height = WIDTH_PX * LARGER, HEIGHT_PX * LARGER
    image = Image.new("RGB", (width, height), _SKY)
    draw = ImageDraw.Draw(image)
    middle, radius = (width / 2, height * 0.52), height * 0.36
    draw.rectangle((0, height * 0.78, width, height), fill=_WATER)
    draw.rectangle((0, height * 0.2, middle[0] - radius * 0.4, height * 0.26), fill=_WATER)
    turn = 2 * math.pi * number / FRAMES / 2
    for paddle in range(12):
        angle = turn + math.pi * paddle / 6
        x, y = math.cos(angle), math.sin(angle)
        end = (middle[0] + x * radius * 1.12, middle[1] + y * radius * 1.12)
        draw.line((middle, end), fill=_TIMBER, width=5 * LARGER)
        side = (-y * 9 * LARGER, x * 9 * LARGER)
        draw.line(
            (end[0] - side[0], end[1] - side[1], end[0] + side[0], end[1] + side[1]),
            fill=_TIMBER,
            width=6 * LARGER,
        )
    for part, wide in ((1.0, 6), (0.55, 4)):
        ring = radius * part
        box = (middle[0] - ring, middle[1] - ring, middle[0] + ring, middle[1] + ring)
        draw.ellipse(box, outline=_TIMBER, width=wide * LARGER)
    shift = number * 6 * LARGER % (40 * LARGER)
    for x in range(-40 * LARGER, width, 40 * LARGER):
        at = (x + shift, height * 0.8, x + shift + 18 * LARGER, height * 0.8)
        draw.line(at, fill=_FOAM, width=2 * LARGER)
    return image.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)


def film(target: Path) -> None:
    """Write three seconds of H.264 in MP4, the index first, so that it plays while it comes."""
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"crf": "35", "preset": "veryslow", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_image(frame(number))))
        container.mux(stream.encode())


if __name__ == "__main__":
    film(TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")
