"""Reading artifacts back: small ones from the database, the others from the blob store."""

from __future__ import annotations

from headrace.artifact import INLINE_BYTES_MAX, Artifact
from headrace.blob import Blobs
from headrace.errors import NotFoundError
from headrace.store import owners, statements
from headrace.store.database import Database


class Reading:
    """Reads the bytes of artifacts, wherever they rest."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    async def body(self, sha256: bytes) -> bytes:
        """Return the bytes with that digest; raises ``NotFoundError`` and ``StorageError``."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(statements.load("artifacts/body.sql"), sha256)
        if row is None:
            raise NotFoundError(f"there is no artifact {sha256.hex()}")
        if row["body"] is not None:
            body: bytes = row["body"]
            return body
        return await self._blobs.read(sha256)

    async def artifact(self, sha256: bytes) -> Artifact:
        """Return an artifact, small ones with their bytes; raises ``NotFoundError``."""
        async with self._database.acquire() as connection:
            found = await connection.fetchrow(statements.load("artifacts/body.sql"), sha256)
        if found is None:
            raise NotFoundError(f"there is no artifact {sha256.hex()}")
        return Artifact(sha256, found["media_type"], found["size_bytes"], found["body"])

    async def small(self, sha256: bytes) -> bytes | None:
        """Return the bytes of an artifact that rests in the database, else ``None``."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(statements.load("artifacts/body.sql"), sha256)
        return None if row is None else row["body"]

    async def inline(self, artifact: Artifact) -> bytes | None:
        """Return what ``small`` does; the database is asked only where it may have them."""
        if artifact.body is not None or artifact.size_bytes > INLINE_BYTES_MAX:
            return artifact.body
        return await self.small(artifact.sha256)

    async def foreign(self, tenant_id: str, sha256s: set[bytes]) -> set[bytes]:
        """Return those of some digests that a tenant may not name: another's, or nobody's."""
        async with self._database.acquire() as connection:
            return await owners.foreign(connection, tenant_id, sha256s)

    async def source(self, sha256_hex: str) -> bytes:
        """Return the bytes that go into a call: an artifact's, or those of a file."""
        return await self.kept(bytes.fromhex(sha256_hex))

    async def kept(self, sha256: bytes) -> bytes:
        """Return bytes that are kept, also such as no row tells of yet.

        Raises ``NotFoundError`` and ``StorageError``.
        """
        small = await self.small(sha256)
        return small if small is not None else await self._blobs.read(sha256)

    async def text(self, artifact: Artifact) -> str:
        """Return an artifact's text; bytes that are not UTF-8 are replaced by a mark."""
        body = artifact.body if artifact.body is not None else await self.body(artifact.sha256)
        return body.decode("utf-8", errors="replace")
