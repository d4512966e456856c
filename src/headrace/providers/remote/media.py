"""What bytes are, by their first and last ones: a provider's word for it is not enough."""

from __future__ import annotations

import re

HEAD_BYTES = 512
TAIL_BYTES = 16

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
FILMS = frozenset({"video/mp4", "video/webm", "video/quicktime"})
SOUNDS = frozenset({"audio/mpeg", "audio/wav", "audio/ogg", "audio/flac"})
SVG = "image/svg+xml"
"""A drawing as text, which may hold scripts: taken only where asked for, never drawn here."""
ANY = IMAGES | FILMS | SOUNDS | {"application/pdf"}

_HEADS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
)
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<[?!][^<]{1,400}){0,3}<svg[\s>/]")
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_MPEG_SOUND = (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")


def media_type_of(head: bytes | bytearray) -> str | None:
    """Return the media type of a body by its first ``HEAD_BYTES`` bytes, or ``None``."""
    for start, media_type in _HEADS:
        if head.startswith(start):
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(bytes(head[8:12]))
    if head[4:8] == b"ftyp":
        brand = bytes(head[8:12])
        if brand in (b"avif", b"avis"):
            return "image/avif"
        return "video/quicktime" if brand == b"qt  " else "video/mp4"
    if head.startswith(_MPEG_SOUND):
        return "audio/mpeg"
    return SVG if _SVG.match(head) else None


def is_cut_off(media_type: str, head: bytes, tail: bytes, size_bytes: int) -> bool:
    """Tell whether a body certainly lacks its end, by its last ``TAIL_BYTES`` bytes and length.

    Only formats that mark their end or tell their length can be judged; for all others
    the answer is ``False``.
    """
    if media_type == "image/png":
        return b"IEND" not in tail
    if media_type == SVG:
        return not tail.rstrip().endswith(b">")
    if media_type == "image/jpeg":
        # Some encoders pad behind the end mark.
        return b"\xff\xd9" not in tail
    if media_type == "image/gif":
        return not tail.rstrip(b"\0").endswith(b";")
    if media_type in ("image/webp", "audio/wav"):
        # A stream of unknown length says zero or all ones.
        told = int.from_bytes(head[4:8], "little")
        return 0 < told < 0xFFFFFFFF and size_bytes < told + 8 - (told & 1)
    return False
