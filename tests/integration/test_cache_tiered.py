"""The shared cache in front of PostgreSQL: only ever faster, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from headrace.cache import Cache, CacheHit
from headrace.caches import breaker, redis_store
from headrace.caches.redis_store import place_of
from headrace.caches.tiered import SECRET_S, TieredCache
from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.errors import ConfigError
from headrace.store import cache_secrets, erasure
from headrace.store.audit import verify
from headrace.store.database import Database
from headrace.submission import Terms
from headrace.testing import ManualClock
from headrace.testing.conformance import CacheConformance
from headrace.testing.conformance.cache_suite import digest, hit_of
from tests.integration.scripted import Scripted
from tests.integration.test_cache_postgres import NOON, put
from tests.integration.test_engine import recipe, rows
from tests.integration.valkey import PASSWORD, RealValkey, behind_tls, impostor

NAMES = [f"n{number}" for number in range(20)]


@pytest.fixture(scope="module")
def running() -> Iterator[RealValkey]:
    found = RealValkey()
    yield found
    found.stop()


@pytest.fixture
def valkey(running: RealValkey, monkeypatch: pytest.MonkeyPatch) -> RealValkey:
    """The server of this file, empty; it is given its time on a busy machine."""
    monkeypatch.setattr(redis_store, "CALL_S_MAX", 60.0)
    with running.client() as client:
        client.flushall()
    return running


@pytest.fixture
async def kept(database: Database) -> Database:
    """A database with two tenants, and twenty results of the first."""
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO tenant (id, name) VALUES ('t1', 'one'), ('t2', 'two')"
        )
    for name in NAMES:
        await put(database, "t1", digest(name), hit_of(name))
    return database


class Side:
    """One process's view: its cache, on a clock moved by hand."""

    def __init__(self, database: Database, url: str | None) -> None:
        self.clock = ManualClock(NOON)
        self.database = database
        self.cache = TieredCache(database, self.clock, url)

    async def names(self, tenant_id: str = "t1", newer_than: datetime | None = None) -> set[str]:
        """Which of the results it finds, each of them checked."""
        asked = {digest(name): name for name in NAMES}
        found = await self.cache.get_many(tenant_id, list(asked), newer_than)
        for fingerprint, hit in found.items():
            wanted = hit_of(asked[fingerprint])
            assert hit.fingerprint == fingerprint
            assert hit.artifact == wanted.artifact
            assert hit.facts == wanted.facts
            assert hit.created_at == wanted.created_at
        return {asked[fingerprint] for fingerprint in found}

    async def empty_behind(self) -> None:
        """Take the results out of PostgreSQL behind everybody's back."""
        async with self.database.acquire() as connection:
            await connection.execute("DELETE FROM cache_entry")


@pytest.fixture
async def side(kept: Database, valkey: RealValkey) -> AsyncIterator[Side]:
    found = Side(kept, valkey.url)
    yield found
    await found.cache.close()


class TestTieredCache(CacheConformance):
    """The conformance suite, with a shared cache in front."""

    @pytest.fixture(autouse=True)
    async def _on(self, database: Database, valkey: RealValkey) -> AsyncIterator[None]:
        self.database = database
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO tenant (id, name) VALUES ('t1', 'one'), ('t2', 'two')"
            )
        self.cache = TieredCache(database, ManualClock(NOON), valkey.url)
        yield
        await self.cache.close()

    async def make_cache(self) -> Cache:
        return self.cache

    async def put(self, cache: Cache, tenant_id: str, fingerprint: bytes, hit: CacheHit) -> None:
        await put(self.database, tenant_id, fingerprint, hit)


async def test_what_was_read_once_is_served_in_front(side: Side) -> None:
    """A result that was found in PostgreSQL is found in front from then on, by all processes."""
    assert await side.names() == set(NAMES)
    await side.empty_behind()
    assert await side.names() == set(NAMES)
    other = Side(side.database, f"redis://:{PASSWORD}@{side.cache.front.place}/0")
    assert await other.names() == set(NAMES)
    assert await other.names("t2") == set()
    await other.cache.close()


async def test_what_rests_in_front_tells_nothing(side: Side, valkey: RealValkey) -> None:
    """Neither a tenant, nor a fingerprint, nor a body can be read there."""
    # Two letters are soon found by chance in what is sealed.
    tenant_id = "a-tenant-of-many-letters"
    async with side.database.transaction() as connection:
        await connection.execute("INSERT INTO tenant (id, name) VALUES ($1, 'three')", tenant_id)
    for name in NAMES:
        await put(side.database, tenant_id, digest(name), hit_of(name))
    assert await side.names(tenant_id) == set(NAMES)
    with valkey.client() as client:
        names = client.keys("*")
        told = b" ".join([*names, *client.mget(names)])
    assert len(names) == len(NAMES)
    for secret in (tenant_id.encode(), b"text/plain", b"model", digest("n3")):
        assert secret not in told
    assert digest("n3").hex().encode() not in told


async def test_time_ends_in_front_too(side: Side, valkey: RealValkey) -> None:
    """A result is not served past its time, and what nobody asks for leaves within an hour."""
    await side.names()
    with valkey.client() as client:
        left = [client.pttl(name) for name in client.keys("*")]
    assert all(0 < one <= 3_600_000 for one in left)
    await side.empty_behind()
    await side.clock.advance(86_399)
    assert await side.names() == set(NAMES)
    await side.clock.advance(1)
    assert await side.names() == set()


async def test_a_short_rest_of_life_is_the_values_too(side: Side, valkey: RealValkey) -> None:
    """A value does not outlive the result it is a copy of."""
    await side.clock.advance(86_390)
    await side.names()
    with valkey.client() as client:
        assert all(0 < client.pttl(name) <= 10_000 for name in client.keys("*"))


async def test_newer_than_looks_behind(side: Side) -> None:
    """A copy that is too old for who asks is no answer: PostgreSQL may have a newer one."""
    await side.names()
    await side.empty_behind()
    assert await side.names(newer_than=NOON) == set(NAMES)
    assert await side.names(newer_than=NOON + timedelta(seconds=1)) == set()


@pytest.mark.parametrize("way", ["tenant", "prune", "down"])
async def test_what_was_erased_is_found_nowhere(side: Side, valkey: RealValkey, way: str) -> None:
    """What is forgotten cannot be read from any copy a second later, also from one put back."""
    await side.names()
    with valkey.client() as client:
        backup = {name: client.get(name) for name in client.keys("*")}
    if way == "down":
        valkey.stop()
    async with side.database.transaction() as connection:
        if way == "prune":
            await connection.execute("DELETE FROM cache_entry")
            await cache_secrets.renew(connection, ["t2", "t1", "nobody"])
        else:
            await erasure.forget_rest(connection, "t1", NOON)
    if way == "down":
        valkey.start()
    with valkey.client() as client:
        for name, value in backup.items():
            client.set(name, value)
    await side.clock.advance(SECRET_S)
    assert await side.names() == set()
    fresh = Side(side.database, valkey.url)
    assert await fresh.names() == set()
    await fresh.cache.close()


async def test_a_secret_is_not_made_beside_a_renewal(kept: Database) -> None:
    """Who looks for the secret while results are being removed waits, and gets the later one."""
    async with kept.acquire() as one, kept.acquire() as other:
        transaction = one.transaction()
        await transaction.start()
        await cache_secrets.renew(one, ["t1"])
        looking = asyncio.create_task(cache_secrets.of(other, "t1"))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not await one.fetchval(waits):
            await asyncio.sleep(0)
        assert not looking.done()
        renewed = await one.fetchval("SELECT secret FROM cache_secret WHERE tenant_id = 't1'")
        await transaction.commit()
        assert await looking == renewed
        assert await cache_secrets.of(other, "nobody") is None


async def test_garbage_is_as_if_it_were_not_there(side: Side, valkey: RealValkey) -> None:
    """Whatever somebody writes over the values, the answers stay those of PostgreSQL."""
    await side.names()
    with valkey.client() as client:
        names = sorted(client.keys("*"))
        values = client.mget(names)
        client.set(names[0], values[1])
        client.set(names[1], b"")
        client.set(names[2], values[2][:-1])
        client.set(names[3], values[3][:12] + bytes(len(values[3]) - 12))
        client.delete(names[4])
        client.rpush(names[4], "a list")
        client.set(names[5], b"\xff" * 1_000_000)
        client.set(names[6], b"{}")
    assert await side.names() == set(NAMES)
    await side.empty_behind()
    # What was found behind was put right in front.
    assert await side.names() == set(NAMES)


@pytest.mark.parametrize(
    "answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*-7\r\n", b"$x\r\n", b"\xff\x00\r\n"]
)
async def test_no_redis_costs_three_tries(kept: Database, answer: bytes | None) -> None:
    """A server that hangs or babbles is left alone after three tries, then tried now and then."""
    async with impostor(answer) as (url, calls):
        side = Side(kept, url)
        for _ in range(20):
            assert await side.names() == set(NAMES)
        assert len(calls) <= breaker.TRIPS_AT + 1
        before = len(calls)
        await side.clock.advance(breaker.REST_S_MAX)
        for _ in range(20):
            assert await side.names() == set(NAMES)
        assert before < len(calls) <= before + 2
        await side.cache.close()


async def test_a_server_that_comes_back_is_used_again(side: Side, valkey: RealValkey) -> None:
    """A restart costs copies and a moment, and nothing else."""
    await side.names()
    valkey.stop()
    for _ in range(breaker.TRIPS_AT + 1):
        assert await side.names() == set(NAMES)
    assert side.cache.front.rests
    valkey.start()
    await side.clock.advance(breaker.REST_S_MAX)
    # The first look finds it empty and fills it.
    assert await side.names() == set(NAMES)
    assert not side.cache.front.rests
    await side.empty_behind()
    assert await side.names() == set(NAMES)


async def test_a_full_server_still_answers(side: Side, valkey: RealValkey) -> None:
    """Where nothing more can be kept, what is kept is still served."""
    await side.names()
    with valkey.client() as client:
        client.config_set("maxmemory", "1")
        try:
            await put(side.database, "t1", digest("more"), hit_of("more"))
            for _ in range(breaker.TRIPS_AT + 1):
                assert await side.cache.get_many("t1", [digest("more")])
            await side.empty_behind()
            assert await side.names() == set(NAMES)
        finally:
            client.config_set("maxmemory", "0")


@pytest.mark.parametrize(
    "url",
    ["http://:sesame@host", "redis://:sesame@host:port", "redis://h/?socket_timeout=sesame", "x"],
)
async def test_a_bad_url_is_named_and_not_shown(database: Database, url: str) -> None:
    """A URL that is none stops the start, names the setting and keeps the password to itself."""
    with pytest.raises(ConfigError, match="HEADRACE_CACHE_URL") as caught:
        TieredCache(database, ManualClock(NOON), url)
    assert "sesame" not in repr(caught.value) + str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_place_holds_no_password() -> None:
    """What is shown of a URL is where it leads."""
    assert place_of("rediss://ada:secret@cache.mill:7000/3?x=secret") == "cache.mill:7000"


async def test_tls_is_checked(kept: Database, valkey: RealValkey, tmp_path: Path) -> None:
    """With rediss:// copies travel over TLS; a certificate nobody vouches for is no server."""
    async with behind_tls(valkey.port, tmp_path) as (url, certificate):
        trusting = Side(kept, f"{url}?ssl_ca_certs={certificate}")
        assert await trusting.names() == set(NAMES)
        assert await trusting.cache.front.is_there()
        wary = Side(kept, url)
        assert await wary.names() == set(NAMES)
        assert not await wary.cache.front.is_there()
        await trusting.cache.close()
        await wary.cache.close()
    with valkey.client() as client:
        assert len(client.keys("*")) == len(NAMES)


# -- the engine ---------------------------------------------------------------------------


async def run(engine: Engine, mode: str = "reuse") -> int:
    """Run the same thirty rows; how many calls that took."""
    batch = await engine.submit(
        rows(30), recipe(), columns=["t"], terms=Terms(cache=mode, canary=0)
    )
    summary = await batch.done()
    assert summary.succeeded == 30
    return summary.attempts


async def test_nothing_is_bought_twice_whatever_becomes_of_it(
    database_url: str, tmp_path: Path, valkey: RealValkey
) -> None:
    """Empty, full of garbage, dead, and back: what is finished is bought once, and all is told."""
    provider = Scripted()
    config = Config(
        home=str(tmp_path),
        database_url=database_url,
        cache_url=valkey.url,
        retry=Retry(attempts=3, base_s=0.0, cap_s=0.0),
    )
    async with open_engine(config, providers={provider.name: provider}) as engine:
        assert await run(engine) == 30
        assert await run(engine) == 0
        with valkey.client() as client:
            names = client.keys("*")
            assert len(names) == 30
            for name in names:
                client.set(name, b"garbage")
        assert await run(engine) == 0
        valkey.stop()
        for _ in range(2):
            assert await run(engine) == 0
        valkey.start()
        assert await run(engine) == 0
        assert await run(engine, "refresh") == 30
        assert await run(engine) == 0
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []
    assert len(provider.prompts) == 60


async def test_a_result_that_was_bought_anew_takes_the_copys_place(
    database_url: str, tmp_path: Path, valkey: RealValkey, database: Database
) -> None:
    """After a refresh no process is served the copy of what was there before."""
    provider = Scripted()
    config = Config(home=str(tmp_path), database_url=database_url, cache_url=valkey.url)
    async with open_engine(config, providers={provider.name: provider}) as engine:
        await run(engine)
        sql = "SELECT fingerprint, created_at FROM cache_entry"
        async with database.acquire() as connection:
            prints = [row["fingerprint"] for row in await connection.fetch(sql)]
        await engine.cache.get_many("default", prints)
        await run(engine, "refresh")
        async with database.acquire() as connection:
            newer = {row["fingerprint"]: row["created_at"] for row in await connection.fetch(sql)}
        other = TieredCache(database, engine.clock, valkey.url)
        found = await other.get_many("default", prints)
        assert {one: hit.created_at for one, hit in found.items()} == newer
        await other.close()
