"""The way to an artifact's bytes at the object storage, or the CDN before it."""

from __future__ import annotations

from fastapi.responses import Response

from headrace.artifact import Artifact
from headrace.blob_keys import public_address
from headrace.engine import Engine

REDIRECT_S = 3600
INLINE = frozenset(
    {
        "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "text/plain",
        "video/mp4", "video/webm", "video/quicktime", "audio/mpeg", "audio/wav", "audio/ogg",
        "audio/flac",
    }
)  # fmt: skip
"""What a browser may show as it is. All else is for saving: SVG and HTML can hold scripts."""


def bare(artifact: Artifact) -> str:
    """Return an artifact's media type without its parameters."""
    return artifact.media_type.partition(";")[0].strip()


async def redirected(engine: Engine, artifact: Artifact, lasts_s: int | None) -> Response | None:
    """Return the way to the store's own address, or the public one, where that is wanted.

    ``None`` for what is small and rests in the database, for what is not to be shown by
    browsers as it is, and where the store has no addresses. Raises ``StorageError``.
    """
    settings, lasts_s = engine.config.http, lasts_s or REDIRECT_S
    if not (settings.redirect or settings.public_url) or bare(artifact) not in INLINE:
        return None
    if await engine.reading.inline(artifact) is not None:
        return None
    if settings.public_url:
        # Its name never changes, so that it may be kept for as long as the link is good.
        url: str | None = public_address(settings.public_url, artifact.sha256)
        kept = f"private, max-age={min(lasts_s, REDIRECT_S)}"
    else:
        url, kept = await engine.blobs.signed_url(artifact.sha256, lasts_s), "no-store"
    if url is None:
        return None
    return Response(status_code=302, headers={"Location": url, "Cache-Control": kept})
