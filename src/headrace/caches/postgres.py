"""The cache in PostgreSQL: the index that every process shares, and that knows the claims."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.artifact import Artifact
from headrace.cache import CacheHit
from headrace.clock import Clock
from headrace.held import decode_json, encode_json
from headrace.provenance import Origin
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

    async def note(self, tenant_id: str, hit: CacheHit) -> None:
        """Keep the facts of ``hit`` with its entry, if that is still the same result."""
        async with self._database.acquire() as connection:
            await connection.execute(
                statements.load("cache/note.sql"),
                tenant_id,
                hit.fingerprint,
                hit.artifact.sha256,
                encode_json(hit.facts).decode(),
            )


def _hit(row: Any) -> CacheHit:
    facts = decode_json(row["facts"]) if row["facts"] else {}
    origin = Origin.from_json(facts.get("origin"))
    artifact = Artifact(row["sha256"], row["media_type"], row["size_bytes"], row["body"], origin)
    return CacheHit(artifact, facts, row["created_at"], row["fingerprint"], row["expires_at"])
