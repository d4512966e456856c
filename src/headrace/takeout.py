"""All data of a tenant as lines of JSON, as they are read: nothing is gathered in memory."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.clock import Clock
from headrace.errors import NotFoundError
from headrace.held import encode_json, read_outputs
from headrace.identity import show_batch_id
from headrace.store import statements
from headrace.store.database import Database

PAGE = 200
PIECE_BYTES = 768 * 1024
SEEN_MAX = 100_000
"""Digests that are remembered, so that the same bytes are not told twice: but for very many."""
_JSON = (
    "recipe", "columns", "source", "settings", "inputs", "outputs", "made", "error", "facts",
    "data",
)  # fmt: skip
_HEX = ("sha256", "fingerprint", "recipe_version")


class Takeout:
    """Reads page by page: what changes while it is read may be told as it was, or as it is."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock, tenant_id: str) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._tenant_id = tenant_id
        self._counts: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield lines, each an object with its ``kind``; the last is ``end``, with their counts."""
        at = self._clock.now().isoformat()
        yield self._line("export", {"tenant_id": self._tenant_id, "at": at})
        async for row in self._rows("batches", self._tenant_id, after=UUID(int=0), key=("id",)):
            async for line in self._batch(row):
                yield line
        kinds = (("file_batches", "file_batch"), ("webhooks", "webhook"), ("schedules", "schedule"))
        for name, kind in kinds:
            async for row in self._rows(name, self._tenant_id, after=UUID(int=0), key=("id",)):
                yield self._line(kind, row)
        async for row in self._rows("files", self._tenant_id, after=UUID(int=0), key=("id",)):
            yield self._line("file", row)
            async for line in self._bytes(row["sha256"], None):
                yield line
        async for row in self._rows("transfers", self._tenant_id, after=0, key=("id",)):
            yield self._line("transfer", row)
        yield encode_json({"kind": "end", "counts": dict(self._counts)}) + b"\n"

    async def _batch(self, batch: dict[str, Any]) -> AsyncIterator[bytes]:
        batch_id: UUID = batch["id"]
        yield self._line("batch", batch | {"id": show_batch_id(batch_id)})
        self._seen.clear()
        async for row in self._rows("items", batch_id, after=-1, key=("idx",)):
            yield self._line("item", row)
            for artifact in read_outputs(row["outputs"]).values():
                if artifact.sha256 not in self._seen:
                    async for line in self._artifact(artifact):
                        yield line
        async for row in self._rows("attempts", batch_id, after=(-1, -1), key=("idx", "number")):
            yield self._line("attempt", row)
        async for row in self._rows("events", batch_id, after=0, key=("seq",)):
            yield self._line("event", row)

    async def _artifact(self, artifact: Artifact) -> AsyncIterator[bytes]:
        if len(self._seen) < SEEN_MAX:
            self._seen.add(artifact.sha256)
        yield self._line("artifact", artifact.to_json())
        async with self._database.acquire() as connection:
            body = await connection.fetchval(statements.load("takeout/body.sql"), artifact.sha256)
        async for line in self._bytes(artifact.sha256, body):
            yield line

    async def _bytes(self, sha256: bytes, body: bytes | None) -> AsyncIterator[bytes]:
        """Yield bytes in pieces, base64; that they are gone is a line, too."""
        offset = 0
        try:
            async for piece in self._pieces(sha256, body):
                for start in range(0, len(piece), PIECE_BYTES):
                    part = piece[start : start + PIECE_BYTES]
                    text = base64.b64encode(part).decode("ascii")
                    told = {"sha256": sha256.hex(), "offset": offset, "base64": text}
                    offset += len(part)
                    yield self._line("bytes", told)
        except NotFoundError as gone:
            yield self._line("missing", {"sha256": sha256.hex(), "reason": gone.message})

    async def _pieces(self, sha256: bytes, body: bytes | None) -> AsyncIterator[bytes]:
        if body is not None:
            yield body
            return
        async for piece in self._blobs.pieces(sha256):
            yield piece

    async def _rows(
        self, name: str, owner: Any, *, after: Any, key: tuple[str, ...]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the rows of an owner in the order of ``key``; no connection is held between."""
        behind = after if isinstance(after, tuple) else (after,)
        while True:
            async with self._database.acquire() as connection:
                rows = await connection.fetch(
                    statements.load(f"takeout/{name}.sql"), owner, *behind, PAGE
                )
            for row in rows:
                yield dict(row)
            if len(rows) < PAGE:
                return
            behind = tuple(rows[-1][one] for one in key)

    def _line(self, kind: str, row: dict[str, Any]) -> bytes:
        self._counts[kind] += 1
        told: dict[str, Any] = {"kind": kind}
        for name, value in row.items():
            if name in _JSON and isinstance(value, str):
                told[name] = msgspec.Raw(value.encode())
            elif name in _HEX and isinstance(value, bytes):
                told[name] = value.hex()
            elif name == "batch_id" and isinstance(value, UUID):
                told[name] = show_batch_id(value)
            elif name == "idx":
                told["row_number"] = None if value is None else value + 1
            else:
                told[name] = value
        return encode_json(told) + b"\n"
