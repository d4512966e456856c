"""What is looked at while a host is cut off: its shards, its return, and the quota's use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg

from bench.admission.simulation import Simulation
from bench.cut.crew import Host

LOOK_S = 0.25
_HELD = """
    SELECT count(*) FROM shard JOIN worker ON worker.id = shard.worker_id
    WHERE shard.state = 'open' AND worker.pid = $1
"""
_SIGNED_OUT = "SELECT ended_at IS NOT NULL FROM worker WHERE pid = $1"
_SIGNED_IN = """
    SELECT EXISTS (
        SELECT FROM pg_locks JOIN pg_stat_activity AS session USING (pid)
        WHERE locktype = 'advisory' AND classid = 7262 AND objid = worker.id::integer::oid
            AND session.backend_start > $2
    ) FROM worker WHERE worker.pid = $1
"""
_NOW = "SELECT clock_timestamp()"
_CLAIMED = """
    SELECT EXISTS (
        SELECT FROM attempt JOIN shard ON shard.id = attempt.shard_id
            AND shard.fence = attempt.fence JOIN worker ON worker.id = shard.worker_id
        WHERE worker.pid = $1 AND attempt.started_at > $2
    )
"""


class Watch:
    """Looks at the database and the providers from the hub, which is never cut off."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def held(self, host: Host) -> int:
        """Return how many shards a host's worker holds."""
        return int(await self._connection.fetchval(_HELD, host.pid) or 0)

    async def until_taken(self, host: Host, within_s: float) -> float | None:
        """Return after how many seconds others had handed out a host's shards again.

        ``None``: not in time. Whoever has a place free takes them then.
        """

        async def taken() -> bool:
            return bool(await self._connection.fetchval(_SIGNED_OUT, host.pid))

        return await _until(taken, within_s)

    async def until_calls(self, host: Host, within_s: float) -> float | None:
        """Return after how many seconds a host's worker has begun a call from now on."""
        now = await self._connection.fetchval(_NOW)

        async def calls() -> bool:
            return bool(await self._connection.fetchval(_CLAIMED, host.pid, now))

        return await _until(calls, within_s)

    async def until_back(self, host: Host, within_s: float) -> tuple[float | None, float | None]:
        """Return when a host's worker was signed in anew, and when it made a call again."""
        joined = await self._connection.fetchval(_NOW)

        async def signed_in() -> bool:
            return bool(await self._connection.fetchval(_SIGNED_IN, host.pid, joined))

        began_s = time.monotonic()
        found = await _until(signed_in, within_s)
        worked = await self.until_calls(host, within_s)
        return found, None if worked is None else time.monotonic() - began_s


async def _until(true: Callable[[], Awaitable[bool]], within_s: float) -> float | None:
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < within_s:
        if await true():
            return passed_s
        await asyncio.sleep(LOOK_S)
    return None


async def rate(provider: Simulation, seconds: float) -> float:
    """Return the calls a second that come during the next ``seconds``."""
    before, began_s = (await provider.ask("truth"))["requests"], time.monotonic()
    await asyncio.sleep(seconds)
    came = (await provider.ask("truth"))["requests"] - before
    return float(came / (time.monotonic() - began_s))
