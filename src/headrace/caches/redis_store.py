"""Values in a Redis or Valkey, on which nothing relies: bounded calls, and none to a dead one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from headrace.caches.breaker import Breaker
from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.telemetry import log

T = TypeVar("T")

CALL_S_MAX = 0.25
"""For one question or one storing, however many values; then PostgreSQL answers alone."""
CONNECTIONS_MAX = 8
VALUES_AT_ONCE = 128
SCHEMES = ("redis", "rediss", "unix")


class RedisStore:
    """Reads and keeps values; every fault is an absent value, and soon costs nothing.

    Reading and keeping fail apart from each other: a full or read-only server still answers.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        """Raises ``ConfigError`` for what is no URL; nothing is connected yet."""
        self._clock = clock
        self._reading, self._keeping = Breaker(), Breaker()
        self._client = _client(url)
        #: Where it is, without user, password and options.
        self.place = place_of(url)

    @property
    def rests(self) -> bool:
        """Whether nothing is read there for now."""
        return self._reading.rests(self._clock.monotonic_s())

    async def read(self, names: Sequence[bytes]) -> list[Any] | None:
        """Return what is kept under each name, ``None`` for nothing; ``None`` without an answer."""

        async def ask() -> list[Any]:
            found: list[Any] = []
            for at in range(0, len(names), VALUES_AT_ONCE):
                found += await self._client.mget(names[at : at + VALUES_AT_ONCE])
            if len(found) != len(names):
                raise ValueError("not the answer to what was asked")
            return found

        return await self._bounded(self._reading, ask)

    async def keep(self, entries: Sequence[tuple[bytes, bytes, int]]) -> None:
        """Keep values by name, each for some milliseconds; what cannot be kept is not."""

        async def store() -> bool:
            for at in range(0, len(entries), VALUES_AT_ONCE):
                pipe = self._client.pipeline(transaction=False)
                for name, value, for_ms in entries[at : at + VALUES_AT_ONCE]:
                    pipe.set(name, value, px=for_ms)
                await pipe.execute()
            return True

        await self._bounded(self._keeping, store)

    async def drop(self, name: bytes) -> None:
        """Remove a value, if it can be."""
        await self._bounded(self._keeping, lambda: self._client.unlink(name))

    async def is_there(self) -> bool:
        """Tell whether it answers now, whatever was found before."""
        return await self._bounded(Breaker(), self._client.ping) is not None

    async def close(self) -> None:
        """Close the connections; a server that hangs holds nobody up."""
        try:
            async with asyncio.timeout(CALL_S_MAX):
                await self._client.aclose()
        except Exception as error:  # broad: what is left of a connection ends with the process
            log().warning("shared_cache_not_closed", why=type(error).__name__)

    async def _bounded(self, breaker: Breaker, call: Callable[[], Awaitable[T]]) -> T | None:
        if not breaker.lets_through(self._clock.monotonic_s()):
            return None
        try:
            async with asyncio.timeout(CALL_S_MAX):
                answer = await call()
        except Exception as error:  # broad: garbage trips the client in any way; it is only faster
            if breaker.failed(self._clock.monotonic_s()):
                # The words of an error may hold what was sent.
                why = type(error).__name__
                log().warning("shared_cache_rests", place=self.place, why=why)
            await self._hang_up()
            return None
        breaker.succeeded()
        return answer

    async def _hang_up(self) -> None:
        """Drop the connections: what a late answer would belong to is not waited for any more."""
        try:
            async with asyncio.timeout(CALL_S_MAX):
                await self._client.connection_pool.disconnect(inuse_connections=False)
        except Exception as error:  # broad: they are dropped either way
            log().debug("shared_cache_not_closed", why=type(error).__name__)


def place_of(url: str) -> str:
    """Return host and port, or the path, of a URL: what may be shown of it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{host}:{parts.port or 6379}" if host else parts.path


def _client(url: str) -> Any:
    # Whoever has no shared cache does not pay for its client.
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        if urlsplit(url).scheme not in SCHEMES:
            raise ValueError
        place_of(url)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=CALL_S_MAX,
            socket_timeout=CALL_S_MAX,
            socket_connect_timeout=CALL_S_MAX,
            retry=Retry(NoBackoff(), 0),
        )
        return Redis(connection_pool=pool)
    except (ValueError, TypeError, AttributeError):
        # Not chained: the error may hold the URL, and the URL a password.
        raise ConfigError(
            "this is not the URL of a Redis or Valkey",
            place="HEADRACE_CACHE_URL",
            remedy="Write it as redis://user:password@host:6379/0, rediss:// for TLS.",
        ) from None
