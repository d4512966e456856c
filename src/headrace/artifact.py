"""Artifacts: immutable bytes named by their SHA-256, small ones carried inline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Artifact:
    """Immutable bytes: 32-byte digest, media type, size in bytes, and, if inline, the body."""

    sha256: bytes
    media_type: str
    size_bytes: int
    body: bytes | None = None

    @property
    def extension(self) -> str:
        """Return the file extension for the media type, without a dot (``bin`` if unknown)."""
        return EXTENSIONS.get(self.media_type.partition(";")[0].strip(), "bin")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object kept in an item's outputs."""
        return {
            "sha256": self.sha256.hex(),
            "media_type": self.media_type,
            "size_bytes": self.size_bytes,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Artifact:
        """Return the artifact that ``to_json`` wrote."""
        return cls(bytes.fromhex(value["sha256"]), value["media_type"], value["size_bytes"])
