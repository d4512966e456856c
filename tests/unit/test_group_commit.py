"""Group commits: side by side, woken a few at a time; a database that is away is asked again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg

from headrace.errors import DatabaseError
from headrace.testing import ManualClock
from headrace.testing.manual_clock import settle
from headrace.writer import GROUP_MAX, WOKEN_AT_ONCE, GroupCommit


class Database:
    """A database whose transactions last until they are let go."""

    def __init__(self) -> None:
        self.open: list[asyncio.Event] = []
        self.groups: list[int] = []

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        done = asyncio.Event()
        self.open.append(done)
        await done.wait()
        self.open.remove(done)
        yield

    async def write(self, _: Any, group: list[int], now: datetime, again: bool) -> list[int]:
        self.groups.append(len(group))
        return group

    async def commit(self) -> None:
        """Let all transactions that are open end."""
        for done in list(self.open):
            done.set()
        await settle()


def pair(database: Database) -> list[GroupCommit[int, int]]:
    clock = ManualClock()
    both = [
        GroupCommit[int, int](database, clock, database.write, name)  # type: ignore[arg-type]
        for name in ("start-after-commit", "settle-after-commit")
    ]
    for one in both:
        one.start()
    return both


async def gather(both: list[GroupCommit[int, int]], count: int) -> list[asyncio.Future[int]]:
    futures = [one.hand_in(number) for number in range(count) for one in both]
    await settle()
    return futures


async def stop(database: Database, both: list[GroupCommit[int, int]]) -> None:
    stopping = [asyncio.create_task(one.stop()) for one in both]
    await settle()
    while database.open:
        await database.commit()
    await asyncio.gather(*stopping)


async def test_starts_and_settles_are_committed_side_by_side() -> None:
    """However much there is to write, neither kind of write waits for the other's commit."""
    database = Database()
    both = pair(database)
    futures = await gather(both, GROUP_MAX)
    assert len(database.open) == 2
    await database.commit()
    assert all(future.done() for future in futures)
    assert database.groups == [GROUP_MAX, GROUP_MAX]
    await stop(database, both)


async def test_a_large_group_walks_on_a_few_at_a_time() -> None:
    """What the first of a group hand in next is being committed while the others still wait."""
    database = Database()
    starts, settles = pair(database)
    waited: list[int] = []

    async def walk(number: int) -> None:
        await starts.hand_in(number)
        waited.append(len(database.open))
        await settles.hand_in(number)

    walks = [asyncio.create_task(walk(number)) for number in range(4 * WOKEN_AT_ONCE)]
    await settle()
    await database.commit()
    assert waited[0] == 0
    assert waited[-1] == 1, "the settles of the first were not heard before the last walked on"
    while not all(one.done() for one in walks):
        await database.commit()
    assert sum(database.groups) == 8 * WOKEN_AT_ONCE
    await stop(database, [starts, settles])


class AwayDatabase(Database):
    """A database that is away for some rounds, and takes no negative number."""

    def __init__(self, rounds: float) -> None:
        super().__init__()
        self.rounds = rounds
        self.kept: list[int] = []
        self.asked_again: list[bool] = []

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.rounds -= 1
        if self.rounds >= 0:
            raise ConnectionRefusedError("away")
        yield

    async def write(self, _: Any, group: list[int], now: datetime, again: bool) -> list[int]:
        if any(number < 0 for number in group):
            # What the driver raises for a value that the column's type cannot hold.
            raise type("DataError", (asyncpg.InterfaceError, ValueError), {})("out of range")
        self.kept += group
        self.asked_again.append(again)
        return group


def one_on(database: Database) -> tuple[GroupCommit[int, int], ManualClock]:
    clock = ManualClock()
    commit = GroupCommit[int, int](database, clock, database.write, "after")  # type: ignore[arg-type]
    commit.start()
    return commit, clock


async def test_a_database_that_is_away_for_an_hour_is_waited_for() -> None:
    """What was handed in is written when it is back, and looked up first: nothing gives up."""
    database = AwayDatabase(rounds=720)
    commit, clock = one_on(database)
    future = commit.hand_in(1)
    await settle()
    while not future.done():
        await clock.advance(5.0)
    assert clock.monotonic_s() >= 3500
    assert (await future, database.kept, database.asked_again) == (1, [1], [True])
    await commit.stop()


async def test_a_process_that_ends_gives_up_on_a_database_that_stays_away() -> None:
    """All that is left shares one patience, so that the end comes within minutes."""
    database = AwayDatabase(rounds=float("inf"))
    commit, clock = one_on(database)
    futures = [commit.hand_in(number) for number in range(3 * GROUP_MAX)]
    stopping = asyncio.create_task(commit.stop())
    await settle()
    while not stopping.done():
        await clock.advance(5.0)
    assert clock.monotonic_s() <= 60
    assert {type(future.exception()) for future in futures} == {DatabaseError}


async def test_a_value_that_no_column_takes_fails_alone() -> None:
    """The driver refuses it before the server sees it; the others of its group are written."""
    database = AwayDatabase(rounds=0)
    commit, _ = one_on(database)
    futures = [commit.hand_in(number) for number in (1, -2, 3)]
    await settle()
    assert isinstance(futures[1].exception(), asyncpg.InterfaceError)
    assert [futures[0].result(), futures[2].result(), database.kept] == [1, 3, [1, 3]]
    await commit.stop()
