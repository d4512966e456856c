"""Marks files that are handed out: what a model made says so, and by whom, in the file itself."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from typing import Any

from headrace.artifact import Artifact
from headrace.container import LeftError, Marked, Patch, Source, window_on
from headrace.containers import patch_of
from headrace.provenance import SIGNED, Origin

_KINDS = ("image/", "video/")


class Imprinting:
    """Marks the files of one export, and counts those that it leaves as they are."""

    def __init__(self) -> None:
        self.marked = self.signed = 0
        self.left: Counter[str] = Counter()

    async def mark(self, artifact: Artifact, source: Source) -> Marked | None:
        """Return an artifact's file with its origin in it; ``None``: it goes out as it is.

        Only what a model had a part in is marked, and only headers are read for it.
        """
        if artifact.origin is not None and artifact.origin.c2pa == SIGNED:
            self.signed += 1
        origin = origin_to_tell(artifact)
        if origin is None:
            return None
        try:
            patch = await asyncio.to_thread(planned, source, origin)
        except LeftError as left:
            self.left[str(left)] += 1
            return None
        self.marked += 1
        return Marked(patch, source)

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        told = {"marked": self.marked, "left": dict(sorted(self.left.items()))}
        return told | ({"signed": self.signed} if self.signed else {})


def origin_to_tell(artifact: Artifact) -> Origin | None:
    """Return the origin that an artifact's file has to be made to tell, ``None`` where it has not.

    A model had a part in it, and it was not signed when it was kept: then it says so already.
    """
    origin = artifact.origin
    if origin is None or not origin.source_type or origin.c2pa == SIGNED:
        return None
    return origin if artifact.media_type.startswith(_KINDS) else None


async def imprinted(artifact: Artifact, body: bytes) -> bytes:
    """Return an artifact's bytes with its origin in them, as a file of it would be."""
    origin = origin_to_tell(artifact)
    return body if origin is None else await with_origin(body, origin)


async def with_origin(body: bytes, origin: Origin) -> bytes:
    """Return a file's bytes with an origin in them; as they are where they cannot take it."""
    try:
        patch = await asyncio.to_thread(planned, body, origin)
    except LeftError:
        return body
    return b"".join(Marked(patch, body).pieces())


def planned(source: Source, origin: Origin) -> Patch:
    """Return how a file becomes one with its origin in it; raises ``LeftError``.

    Parts that follow each other are one: a plan is small, and little is read, whatever it is of.
    """
    try:
        with window_on(source) as window:
            patch = patch_of(window, origin)
    except (struct.error, ValueError):
        raise LeftError("it cannot be read") from None
    except OSError as error:
        raise LeftError(f"it cannot be read: {error.strerror}") from None
    return patch.cut(0, patch.size)
