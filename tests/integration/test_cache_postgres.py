"""The cache in PostgreSQL keeps what every cache promises, and claims are exclusive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.cache import Cache, CacheHit
from headrace.caches.postgres import PostgresCache
from headrace.store import statements
from headrace.store.database import Database
from headrace.testing import ManualClock
from headrace.testing.conformance import CacheConformance
from headrace.testing.conformance.cache_suite import digest, hit_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NEVER = datetime(1, 1, 1, tzinfo=UTC)


class TestPostgresCache(CacheConformance):
    """The conformance suite on a fresh database."""

    @pytest.fixture(autouse=True)
    async def _on(self, database: Database) -> None:
        self.database = database
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO tenant (id, name) VALUES ('t1', 'one'), ('t2', 'two')"
            )

    async def make_cache(self) -> Cache:
        """Return the cache of the test's database."""
        return PostgresCache(self.database, ManualClock(NOON))

    async def put(self, cache: Cache, tenant_id: str, fingerprint: bytes, hit: CacheHit) -> None:
        """Claim and fill, as starts and settles do."""
        await put(self.database, tenant_id, fingerprint, hit)


async def put(database: Database, tenant_id: str, fingerprint: bytes, hit: CacheHit) -> None:
    artifact = hit.artifact
    async with database.transaction() as connection:
        await claim(connection, fingerprint, 1, tenant_id=tenant_id)
        await connection.execute(
            statements.load("artifacts/keep.sql"),
            [artifact.sha256],
            [artifact.media_type],
            [artifact.size_bytes],
            [artifact.body],
            NOON,
        )
        await connection.execute(
            statements.load("cache/fill.sql"),
            [tenant_id],
            [fingerprint],
            [1],
            [1],
            [artifact.sha256],
            [artifact.media_type],
            [artifact.size_bytes],
            ['{"model": "' + hit.facts["model"] + '"}'],
            NOON,
            [NOON + timedelta(days=1)],
        )


async def claim(
    connection: Any,
    fingerprint: bytes,
    shard_id: int,
    fence: int = 1,
    *,
    idx: int = 0,
    tenant_id: str = "default",
) -> bool:
    batch_id = await connection.fetchval("SELECT id FROM batch")
    rows = await connection.fetch(
        statements.load("cache/claim.sql"), [tenant_id], [fingerprint], [shard_id], [fence],
        NOON, NEVER, [batch_id], [idx],
    )  # fmt: skip
    return bool(rows)


OPEN_ATTEMPT = """
    INSERT INTO attempt (batch_id, idx, number, key_number, round, stage, provider, lane, state,
        fingerprint, shard_id, fence, started_at)
    SELECT id, 0, 1, 1, 1, 0, 'p', 'l', 'started', $1, $2, 1, now() FROM batch
"""


async def test_an_entry_past_its_time_is_not_seen(database: Database) -> None:
    """A result is reused for its time and not a second longer."""
    await put(database, "default", digest("a"), hit_of("a"))
    clock = ManualClock(NOON)
    cache = PostgresCache(database, clock)
    await clock.advance(86_399)
    assert await cache.get_many("default", [digest("a")])
    await clock.advance(1)
    assert await cache.get_many("default", [digest("a")]) == {}


async def test_a_claim_is_exclusive_while_its_holder_lives(database: Database) -> None:
    """A fingerprint being bought by a live shard is not handed out; a dead holder's is."""
    async with database.transaction() as connection:
        batch_id = await connection.fetchval(
            "INSERT INTO batch (id, tenant_id, name, state, recipe_name, recipe_version, recipe,"
            " cache_mode, unknown_policy, created_at) VALUES (gen_random_uuid(), 'default', 'b',"
            " 'running', 'r', '\\x00', '{}', 'reuse', 'retry', now()) RETURNING id"
        )
        shard_id = await connection.fetchval(
            "INSERT INTO shard (batch_id, idx_from, idx_to, fence, cut_at)"
            " VALUES ($1, 0, 0, 1, now()) RETURNING id",
            batch_id,
        )
        assert await claim(connection, digest("a"), shard_id)
        assert not await claim(connection, digest("a"), shard_id + 1)
        await connection.execute(OPEN_ATTEMPT, digest("a"), shard_id)
        await connection.execute("UPDATE shard SET fence = 2 WHERE id = $1", shard_id)
        # Handed out again: who began it goes on, and nobody else, of its own shard neither.
        assert not await claim(connection, digest("a"), shard_id + 1, idx=1)
        assert not await claim(connection, digest("a"), shard_id, 2, idx=1)
        assert await claim(connection, digest("a"), shard_id, 2)
        await connection.execute("UPDATE shard SET fence = 3 WHERE id = $1", shard_id)
        await connection.execute("UPDATE attempt SET state = 'resolved'")
        assert await claim(connection, digest("a"), shard_id + 1, idx=1)
