"""Lanes: what they have learned, how they do, and the state that workers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from headrace.learned import Learned, Remembered, read_learned
from headrace.store import statements
from headrace.store.database import Database, session_may_end

CHANNEL = "headrace_lane"
HOLD_S_MAX = 3.0
"""A session that holds a lane for longer is ended by the server."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is written of a lane: ``live`` is the latest summary of a working process."""

    name: str
    remembered: Remembered | None
    live: dict[str, Any] | None
    live_at: datetime | None


@dataclass(frozen=True, slots=True)
class Noted:
    """What a working process writes of a lane; ``learned`` is ``None`` where nothing changed."""

    name: str
    learned: Learned | None
    live: dict[str, Any]


async def remembered(connection: Any, now: datetime) -> dict[str, Remembered]:
    """Return what lanes have learned, but for what is too old or cannot be read."""
    found = {}
    for row in await connection.fetch(statements.load("lanes/learned.sql")):
        one = _remembered(row)
        if one is not None and one.holds(now):
            found[row["name"]] = one
    return found


def _remembered(row: Any) -> Remembered | None:
    learned = read_learned(row["learned"], row["name"]) if row["learned"] is not None else None
    return Remembered(learned, row["learned_at"]) if learned is not None else None


async def note(connection: Any, noted: Iterable[Noted], now: datetime) -> None:
    """Write what a process has learned of its lanes, and how they do."""
    lanes = list(noted)
    await connection.execute(
        statements.load("lanes/learn.sql"),
        [one.name for one in lanes],
        [None if one.learned is None else _json(one.learned) for one in lanes],
        [_json(one.live) for one in lanes],
        now,
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def kept(connection: Any) -> list[Kept]:
    """Return all lanes that are known, by name."""
    return [
        Kept(
            row["name"],
            _remembered(row),
            None if row["live"] is None else msgspec.json.decode(row["live"]),
            row["live_at"],
        )
        for row in await connection.fetch(statements.load("lanes/list.sql"))
    ]


async def forget(connection: Any, name: str) -> bool:
    """Forget a lane, its shared state included; tells whether it was known."""
    return bool(await connection.fetchval(statements.load("lanes/forget.sql"), name))


class LaneSession:
    """A session of a worker's own with the database: it holds lanes, and shows that it lives.

    All of it raises OSError, TimeoutError or asyncpg's errors when the session is lost.
    """

    def __init__(self, connection: asyncpg.Connection[Any], member_id: int) -> None:
        self._connection = connection
        self.member_id = member_id

    @classmethod
    async def open(
        cls, database: Database, woken: Any, lost: Any, member_id: int = 0
    ) -> LaneSession:
        """Sign in, under the same name as before if nobody holds it.

        ``woken`` is called with the name of a lane where a place is free, ``lost`` when
        the session has ended.
        """
        connection = await database.session()
        try:
            with session_may_end():
                limit = f"{int(HOLD_S_MAX * 1000)}ms"
                await connection.execute(statements.load("lanes/settings.sql"), limit)
                lock = statements.load("lanes/lock.sql")
                while not member_id or not await connection.fetchval(lock, member_id):
                    member_id = await connection.fetchval(statements.load("lanes/member.sql"))
                await connection.add_listener(CHANNEL, lambda _c, _p, _ch, lane: woken(lane))
                connection.add_termination_listener(lambda _: lost())
        except BaseException:  # broad: a session that is not complete holds nothing
            connection.terminate()
            raise
        return cls(connection, member_id)

    @property
    def is_lost(self) -> bool:
        """Whether the session has ended."""
        return self._connection.is_closed()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Be in the transaction in which a lane is held."""
        with session_may_end():
            async with self._connection.transaction():
                yield

    async def hold(self, name: str, shape: str) -> tuple[int, bytes, float]:
        """Wait for the lane's lock; return its version, its state and the database's time.

        The state is empty for a lane that nobody has begun.
        """
        while True:
            row = await self._connection.fetchrow(
                statements.load("lanes/hold.sql"), name, shape, timeout=2 * HOLD_S_MAX
            )
            if row is not None:
                return row["version"], row["state"], row["now_s"]
            await self._connection.execute(statements.load("lanes/begin.sql"), name, shape)

    async def step(self, name: str, shape: str, state: bytes, wake: bool) -> int:
        """Write the state of a lane that is held, and wake the others; return its version."""
        version = await self._connection.fetchval(
            statements.load("lanes/step.sql"), name, shape, state, wake, timeout=2 * HOLD_S_MAX
        )
        return int(version)

    async def gone(self, member_ids: Iterable[int]) -> set[int]:
        """Return those of these workers whose session is gone."""
        with session_may_end():
            rows = await self._connection.fetch(
                statements.load("lanes/gone.sql"), list(member_ids), timeout=2 * HOLD_S_MAX
            )
        return {row["id"] for row in rows}

    async def close(self) -> None:
        """Sign out; nothing is raised."""
        try:
            await self._connection.close(timeout=HOLD_S_MAX)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._connection.terminate()

    def terminate(self) -> None:
        """End the session without a word."""
        self._connection.terminate()
