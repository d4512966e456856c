"""The cache in PostgreSQL: the index that every process shares, and that knows the claims."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.artifact import Artifact
from headrace.cache import CacheHit
from headrace.clock import Clock
from headrace.held import decode_json
from headrace.store import statements
from headrace.store.database import Database


class PostgresCache:
    """Finished results by tenant and fingerprint; entries past their time are not seen."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get_many(
        self, tenant_id: str, fingerprints: list[bytes], newer_than: datetime | None = None
    ) -> dict[bytes, CacheHit]:
        """Return the live entries among ``fingerprints``, made after ``newer_than`` if given."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                statements.load("cache/get_many.sql"),
                tenant_id,
                fingerprints,
                self._clock.now(),
                newer_than,
            )
        return {row["fingerprint"]: _hit(row) for row in rows}


def _hit(row: Any) -> CacheHit:
    artifact = Artifact(row["sha256"], row["media_type"], row["size_bytes"], row["body"])
    facts = decode_json(row["facts"]) if row["facts"] else {}
    return CacheHit(artifact, facts, row["created_at"], row["fingerprint"])
