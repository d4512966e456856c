"""What every cache promises: finished results by fingerprint, kept apart by tenant."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from headrace.artifact import Artifact
from headrace.cache import Cache, CacheHit

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class CacheConformance:
    """Subclass as ``class TestMine(CacheConformance)`` and override ``make_cache`` and ``put``."""

    async def make_cache(self) -> Cache:
        """Return an empty cache."""
        raise NotImplementedError

    async def put(self, cache: Cache, tenant_id: str, fingerprint: bytes, hit: CacheHit) -> None:
        """Store a finished result the way the engine does."""
        raise NotImplementedError

    async def test_empty_cache_has_nothing(self) -> None:
        """Unknown fingerprints, and none at all, give an empty answer."""
        cache = await self.make_cache()
        assert await cache.get_many("t1", []) == {}
        assert await cache.get_many("t1", [digest("a")]) == {}

    async def test_what_was_put_is_found(self) -> None:
        """An entry comes back with its artifact and facts, beside ones that are not there."""
        cache = await self.make_cache()
        await self.put(cache, "t1", digest("a"), hit_of("a"))
        found = await cache.get_many("t1", [digest("b"), digest("a"), digest("a")])
        assert set(found) == {digest("a")}
        got, wanted = found[digest("a")], hit_of("a")
        assert got.artifact.sha256 == wanted.artifact.sha256
        assert got.artifact.media_type == wanted.artifact.media_type
        assert got.artifact.size_bytes == wanted.artifact.size_bytes
        assert got.facts == wanted.facts

    async def test_tenants_are_apart(self) -> None:
        """One tenant never gets another's entry."""
        cache = await self.make_cache()
        await self.put(cache, "t1", digest("a"), hit_of("a"))
        assert await cache.get_many("t2", [digest("a")]) == {}

    async def test_newer_than_hides_older_entries(self) -> None:
        """``newer_than`` gives only entries made after that moment."""
        cache = await self.make_cache()
        await self.put(cache, "t1", digest("a"), hit_of("a"))
        second = timedelta(seconds=1)
        assert await cache.get_many("t1", [digest("a")], _NOON + second) == {}
        assert set(await cache.get_many("t1", [digest("a")], _NOON - second)) == {digest("a")}

    async def test_facts_can_be_noted(self) -> None:
        """Facts are kept with the same result; those of a replaced one change nothing."""
        cache = await self.make_cache()
        await self.put(cache, "t1", digest("a"), hit_of("a"))
        found = (await cache.get_many("t1", [digest("a")]))[digest("a")]
        await cache.note("t1", replace(found, facts={"seen": 1}, fingerprint=digest("a")))
        other = replace(hit_of("b"), facts={"seen": 2}, fingerprint=digest("a"))
        await cache.note("t1", other)
        await cache.note("t2", replace(found, facts={"seen": 3}, fingerprint=digest("a")))
        got = (await cache.get_many("t1", [digest("a")]))[digest("a")]
        assert got.facts == {"seen": 1}

    async def test_many_at_once(self) -> None:
        """A thousand fingerprints are answered in one question."""
        cache = await self.make_cache()
        names = [f"n{number}" for number in range(20)]
        for name in names:
            await self.put(cache, "t1", digest(name), hit_of(name))
        asked = [digest(f"n{number}") for number in range(1000)]
        assert set(await cache.get_many("t1", asked)) == {digest(name) for name in names}


def digest(name: str) -> bytes:
    """Return the fingerprint that stands for ``name``."""
    return hashlib.sha256(name.encode()).digest()


def hit_of(name: str) -> CacheHit:
    """Return a finished result made at noon whose small body is ``name``."""
    body = name.encode()
    artifact = Artifact(hashlib.sha256(body).digest(), "text/plain", len(body), body)
    return CacheHit(artifact, {"model": name}, _NOON)
