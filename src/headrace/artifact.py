"""Artifacts: immutable bytes named by their SHA-256, small ones carried inline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.provenance import Origin

INLINE_BYTES_MAX = 8192
"""Bodies up to this many bytes rest in PostgreSQL, committed with the settle itself."""

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "application/json": "json",
    "text/plain": "txt",
    "text/markdown": "md",
    "image/avif": "avif",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
}


def extension_of(media_type: str) -> str:
    """Return the file extension for a media type, without a dot (``bin`` if unknown)."""
    return EXTENSIONS.get(media_type.partition(";")[0].strip(), "bin")


@dataclass(frozen=True, slots=True)
class Artifact:
    """Immutable bytes: 32-byte digest, media type, size in bytes, and, if inline, the body.

    ``origin`` tells where these bytes came from in the case at hand; the same bytes may have
    come from somewhere else as well.
    """

    sha256: bytes
    media_type: str
    size_bytes: int
    body: bytes | None = None
    origin: Origin | None = field(default=None, compare=False)

    @property
    def extension(self) -> str:
        """Return the file extension for the media type, without a dot (``bin`` if unknown)."""
        return extension_of(self.media_type)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object kept in an item's outputs."""
        told: dict[str, Any] = {
            "sha256": self.sha256.hex(),
            "media_type": self.media_type,
            "size_bytes": self.size_bytes,
        }
        return told if self.origin is None else {**told, "origin": self.origin.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Artifact:
        """Return the artifact that ``to_json`` wrote."""
        origin = Origin.from_json(value.get("origin"))
        digest = bytes.fromhex(value["sha256"])
        return cls(digest, value["media_type"], value["size_bytes"], origin=origin)
