"""Marks files that are handed out: what a model made says so, and by whom, in the file itself."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from headrace.artifact import Artifact
from headrace.container import BytesWindow, FileWindow, LeftError, Marked, Patch
from headrace.containers import patch_of
from headrace.provenance import Origin

_KINDS = ("image/", "video/")


class Imprinting:
    """Marks the files of one export, and counts those that it leaves as they are."""

    def __init__(self) -> None:
        self.marked = 0
        self.left: Counter[str] = Counter()

    async def mark(self, artifact: Artifact, source: bytes | Path | None) -> Marked | None:
        """Return an artifact's file with its origin in it; ``None``: it goes out as it is.

        Only what a model had a part in is marked, and only headers are read for it.
        """
        origin = artifact.origin
        if origin is None or not origin.source_type:
            return None
        if not artifact.media_type.startswith(_KINDS):
            return None
        if source is None:
            self.left["it lies in a store that is not on this machine"] += 1
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
        return {"marked": self.marked, "left": dict(sorted(self.left.items()))}


def planned(source: bytes | Path, origin: Origin) -> Patch:
    """Return how a file becomes one with its origin in it; raises ``LeftError``."""
    try:
        if isinstance(source, bytes):
            return patch_of(BytesWindow(source), origin)
        with FileWindow(source) as window:
            return patch_of(window, origin)
    except (struct.error, ValueError):
        raise LeftError("it cannot be read") from None
    except OSError as error:
        raise LeftError(f"it cannot be read: {error.strerror}") from None
