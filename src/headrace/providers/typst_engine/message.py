"""What the renderer and its workers say to each other: length-prefixed MessagePack."""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

HEAD = struct.Struct(">I")
MESSAGE_BYTES_MAX = 256 * 1024 * 1024
MEMORY_EXIT = 77
ORPHAN_EXIT = 78


class Setup(msgspec.Struct, frozen=True):
    """The first message to a worker: where things are and what it may use."""

    root: str
    photo_folder: str
    font_folders: tuple[str, ...]
    memory_limit_bytes: int
    parent_pid: int


class PhotoOrder(msgspec.Struct, frozen=True):
    """A photo to prepare: a path inside ``folders`` or the bytes, at most ``longest_px``."""

    parameter: str
    path: str | None
    body: bytes | None
    longest_px: int


class Order(msgspec.Struct, frozen=True):
    """One render: ``main`` is the template's path below the root."""

    main: str
    row: str
    photos: tuple[PhotoOrder, ...]
    folders: tuple[str, ...]
    photo_fallback: bool
    format: str
    ppi: float
    quality: int


class Answer(msgspec.Struct, frozen=True):
    """What a worker gives back: a body, or the code and words of an error."""

    body: bytes = b""
    width: int = 0
    height: int = 0
    warnings: tuple[str, ...] = ()
    error: str = ""
    message: str = ""
    remedy: str = ""
    place: str = ""
    rss_bytes: int = 0


_encoder = msgspec.msgpack.Encoder()


def pack(message: msgspec.Struct) -> bytes:
    """Return the bytes of a message with its length before it."""
    body = _encoder.encode(message)
    return HEAD.pack(len(body)) + body


def read(stream: BinaryIO) -> bytes | None:
    """Read one message's bytes, or ``None`` when the other side has gone."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (length,) = HEAD.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None
