"""A process for one film: takes a frame out of standard input, obeys limits, and ends.

It gets the film as an open file and needs no other; what it may use of memory and
processor time is set by the kernel, because a film is a stranger's and decoders break.
It answers on standard output: a line of JSON, then the picture's bytes.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, BinaryIO

import msgspec

MEMORY_EXIT = 77
PIXELS_MAX = 50_000_000
SIDE_PX_MAX = 16_384
FORMATS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
}
"""Names of the only readers that are asked, by media type: others follow links and lists."""

CODECS = frozenset(
    ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores", "png")
)
FORMATS_OUT = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}


class Order(msgspec.Struct, frozen=True):
    """What is wanted: the frame at ``at_s`` seconds (the last one where the film is shorter).

    ``width`` is the most in pixels, 0 for the film's own; ``format`` one of ``FORMATS_OUT``.
    """

    media_type: str
    at_s: float
    width: int
    format: str
    quality: int
    memory_bytes: int
    cpu_s: int


class Answer(msgspec.Struct, frozen=True):
    """The line before the picture: its size, the film's length in seconds, or what is wrong."""

    error: str = ""
    width: int = 0
    height: int = 0
    duration_s: float | None = None


class UnusableFilmError(Exception):
    """The film is not one that a frame can be taken from."""


def main() -> None:
    """Answer the one order on the command line."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    answers = _take_output()
    _limit(order)
    try:
        answer, body = _framed(order, sys.stdin.buffer)
    except UnusableFilmError as error:
        answer, body = Answer(error=str(error)), b""
    except MemoryError:
        os._exit(MEMORY_EXIT)
    answers.write(msgspec.json.encode(answer) + b"\n" + body)
    answers.flush()
    # What a decoder leaves behind is not tidied up: that, too, could break.
    os._exit(0)


def _take_output() -> BinaryIO:
    """Keep standard output for the answer alone: whatever else prints is dropped."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _limit(order: Order) -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (order.cpu_s, order.cpu_s))
    resource.setrlimit(resource.RLIMIT_DATA, (order.memory_bytes, order.memory_bytes))


def _framed(order: Order, film: BinaryIO) -> tuple[Answer, bytes]:
    import av
    from av.error import FFmpegError

    try:
        with av.open(film, "r", format=FORMATS[order.media_type]) as container:
            duration_s = container.duration / 1e6 if container.duration else None
            image = _picture(container, order.at_s)
    except MemoryError:
        raise
    except (FFmpegError, ValueError, EOFError, KeyError) as error:
        raise UnusableFilmError(f"it cannot be decoded ({type(error).__name__})") from error
    if 0 < order.width < image.width:
        height = max(1, round(image.height * order.width / image.width))
        image = image.resize((order.width, height), reducing_gap=2.0)
    out = io.BytesIO()
    kind = FORMATS_OUT[order.format]
    image.save(out, kind, **({} if kind == "PNG" else {"quality": order.quality}))
    return Answer("", image.width, image.height, duration_s), out.getvalue()


def _picture(container: Any, at_s: float) -> Any:
    """Return the frame at ``at_s`` as a picture; raises ``UnusableFilmError``."""
    if not container.streams.video:
        raise UnusableFilmError("it has no picture, only sound")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context.name not in CODECS:
        raise UnusableFilmError(f"its coding {context.name!r} is not read here")
    _check_size(context.width, context.height)
    context.thread_count = 1
    if at_s > 0:
        container.seek(int(at_s * 1_000_000))
    last = None
    for frame in container.decode(stream):
        # A stream may change its size on the way.
        _check_size(frame.width, frame.height)
        last = frame
        if frame.time is None or frame.time >= at_s:
            break
    if last is None:
        raise UnusableFilmError("it has no frame")
    return last.to_image()


def _check_size(width: int, height: int) -> None:
    if width * height > PIXELS_MAX or max(width, height) > SIDE_PX_MAX:
        raise UnusableFilmError(f"its frames of {width} x {height} pixels are too large")


if __name__ == "__main__":
    main()
