"""The cache of a process: PostgreSQL, and in front of it a Redis where the settings name one.

What is in front is never more than a copy: who may buy is decided in PostgreSQL, and what is not
found, or not understood, in front is looked for there. A copy is good as long as its tenant's
secret (``store/cache_secrets.py``), which is looked up once a second at most: erasing or replacing
results gives the tenant another secret in the same transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.cache import CacheHit
from headrace.caches.postgres import PostgresCache
from headrace.caches.redis_store import RedisStore
from headrace.caches.sealed_hits import Sealing
from headrace.clock import Clock
from headrace.store import cache_secrets
from headrace.store.database import Database

SECRET_S = 1.0
"""For how long a secret is taken to be the tenant's: how late a process may see an erasure."""
SECRETS_MAX = 10_000
KEPT_MAX = timedelta(hours=1)
"""What nobody asked for so long leaves, and so does what can no longer be opened."""
VALUE_BYTES_MAX = 64 * 1024


class TieredCache:
    """Finished results by tenant and fingerprint, read through a shared cache if there is one."""

    def __init__(self, database: Database, clock: Clock, url: str | None = None) -> None:
        """Raises ``ConfigError`` when ``url`` is none; connects when it is first needed."""
        self._database = database
        self._clock = clock
        self._behind = PostgresCache(database, clock)
        self._sealings: dict[str, tuple[Sealing, float]] = {}
        #: The shared cache, ``None`` without one.
        self.front = RedisStore(url, clock) if url else None

    async def get_many(
        self, tenant_id: str, fingerprints: list[bytes], newer_than: datetime | None = None
    ) -> dict[bytes, CacheHit]:
        """Return the live entries among ``fingerprints``, made after ``newer_than`` if given."""
        sealing = await self._sealing(tenant_id) if fingerprints else None
        if self.front is None or sealing is None:
            return await self._behind.get_many(tenant_id, fingerprints, newer_than)
        asked = list(dict.fromkeys(fingerprints))
        values = await self.front.read([sealing.name(one) for one in asked])
        if values is None:
            return await self._behind.get_many(tenant_id, asked, newer_than)
        now = self._clock.now()
        found: dict[bytes, CacheHit] = {}
        for fingerprint, value in zip(asked, values, strict=True):
            hit = sealing.open(fingerprint, value)
            if hit is not None and _serves(hit, now, newer_than):
                found[fingerprint] = hit
        missed = [one for one in asked if one not in found]
        if missed:
            behind = await self._behind.get_many(tenant_id, missed, newer_than)
            await self._keep(self.front, sealing, behind, now)
            found.update(behind)
        return found

    async def note(self, tenant_id: str, hit: CacheHit) -> None:
        """Keep the facts of ``hit`` with its entry, if that is still the same result."""
        await self._behind.note(tenant_id, hit)
        # Should this copy stay it has the facts of before: its result is judged once more.
        sealing = await self._sealing(tenant_id)
        if self.front is not None and sealing is not None:
            await self.front.drop(sealing.name(hit.fingerprint))

    async def close(self) -> None:
        """Close the connections to the shared cache."""
        if self.front is not None:
            await self.front.close()

    async def _sealing(self, tenant_id: str) -> Sealing | None:
        """Return what opens a tenant's copies, as of a second ago at the earliest.

        It is looked up before the results: one that was replaced in between is sealed with
        a secret that is nobody's any more.
        """
        if self.front is None or self.front.rests:
            return None
        now_s = self._clock.monotonic_s()
        known = self._sealings.get(tenant_id)
        if known is not None and now_s < known[1]:
            return known[0]
        async with self._database.acquire() as connection:
            secret = await cache_secrets.of(connection, tenant_id)
        if secret is None:
            return None
        if len(self._sealings) >= SECRETS_MAX:
            self._sealings.clear()
        sealing = Sealing(secret)
        self._sealings[tenant_id] = (sealing, now_s + SECRET_S)
        return sealing

    async def _keep(
        self, front: RedisStore, sealing: Sealing, hits: dict[bytes, CacheHit], now: datetime
    ) -> None:
        entries: list[tuple[bytes, bytes, int]] = []
        for hit in hits.values():
            if hit.expires_at is None:
                continue
            value = sealing.seal(hit)
            for_ms = int(min(hit.expires_at - now, KEPT_MAX) / timedelta(milliseconds=1))
            if len(value) <= VALUE_BYTES_MAX and for_ms > 0:
                entries.append((sealing.name(hit.fingerprint), value, for_ms))
        if entries:
            await front.keep(entries)


def _serves(hit: CacheHit, now: datetime, newer_than: datetime | None) -> bool:
    if hit.expires_at is None or hit.expires_at <= now:
        return False
    return newer_than is None or hit.created_at >= newer_than
