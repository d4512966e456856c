"""Makes calls for trying a provider by hand, and keeps what the provider does with them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from headrace.artifact import Artifact
from headrace.provider import Call, Reply, Spool
from headrace.request import Request


class MemorySpool:
    """A spool that keeps its bytes in memory."""

    def __init__(self, media_type: str) -> None:
        self._media_type = media_type
        self._pieces: list[bytes] = []
        self.artifact: Artifact | None = None

    @property
    def body(self) -> bytes:
        """Return the bytes written so far."""
        return b"".join(self._pieces)

    @property
    def pieces(self) -> int:
        """Return in how many pieces they came."""
        return len(self._pieces)

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``; after ``commit`` that is an error."""
        if self.artifact is not None:
            raise RuntimeError("written to after commit")
        self._pieces.append(chunk)

    async def commit(self) -> Artifact:
        """Return the artifact of what was written."""
        digest = hashlib.sha256(self.body).digest()
        self.artifact = Artifact(digest, self._media_type, len(self.body))
        return self.artifact


class CallDesk:
    """Where calls come from in a test.

    ``accepted`` lists the ids and addresses that providers reported, ``spools`` the
    bodies they spooled; ``keep`` puts an artifact there for ``call.source`` to read.
    """

    def __init__(self, folders: tuple[Path, ...] = (), deadline_s: float = 60.0) -> None:
        self.accepted: list[tuple[str, str | None]] = []
        self.spools: list[MemorySpool] = []
        self._folders = folders
        self._deadline_s = deadline_s
        self._kept: dict[str, bytes] = {}

    def keep(self, body: bytes, media_type: str) -> Artifact:
        """Keep ``body`` and return its artifact."""
        digest = hashlib.sha256(body)
        self._kept[digest.hexdigest()] = body
        return Artifact(digest.digest(), media_type, len(body))

    def call(self, request: Request, key: str = "key-1", marker: str | None = None) -> Call:
        """Return a call for ``request`` under ``key``, which is its marker too by default."""
        return Call(
            request=request,
            key=key,
            marker=key if marker is None else marker,
            deadline_s=self._deadline_s,
            folders=self._folders,
            spool=self._spool,
            accepted=self._accept,
            source=self._source,
        )

    def body_of(self, reply: Reply) -> bytes:
        """Return a reply's bytes, in memory, spooled or kept; raises ``LookupError``."""
        if reply.body is not None:
            return reply.body
        if reply.artifact is None:
            raise LookupError("the reply has neither a body nor an artifact")
        for spool in self.spools:
            if spool.artifact == reply.artifact:
                return spool.body
        return self._kept[reply.artifact.sha256.hex()]

    @asynccontextmanager
    async def _spool(self, media_type: str) -> AsyncIterator[Spool]:
        spool = MemorySpool(media_type)
        self.spools.append(spool)
        yield spool

    async def _accept(self, provider_request_id: str, url: str | None) -> None:
        self.accepted.append((provider_request_id, url))

    async def _source(self, sha256_hex: str) -> bytes:
        return self._kept[sha256_hex]
