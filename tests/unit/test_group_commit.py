"""Group commits that share a turn: apart while there is little to write, one by one in a crowd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from headrace.errors import DatabaseError
from headrace.testing import ManualClock
from headrace.testing.manual_clock import settle
from headrace.writer import CROWD, GROUP_MAX, GroupCommit


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
    turn, clock = asyncio.Lock(), ManualClock()
    both = [
        GroupCommit[int, int](database, clock, database.write, name, turn)  # type: ignore[arg-type]
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


@pytest.mark.parametrize(("before", "together"), [(CROWD - 1, 2), (CROWD, 1)])
async def test_a_crowd_commits_one_group_after_the_other(before: int, together: int) -> None:
    """Few writes are committed side by side; after large groups, starts and settles take turns."""
    database = Database()
    both = pair(database)
    await gather(both, before)
    await database.commit()
    futures = await gather(both, 3)
    assert len(database.open) == together
    for _ in range(2):
        await database.commit()
    assert all(future.done() for future in futures)
    assert database.groups == [before, before, 3, 3]
    await stop(database, both)


async def test_what_comes_while_another_has_its_turn_joins_the_next_group() -> None:
    """Waiting for its turn, a group goes on gathering: nothing that came meanwhile is left."""
    database = Database()
    both = pair(database)
    await gather(both, CROWD)
    await database.commit()
    early = await gather(both, 2)
    late = await gather(both[1:], 5)
    await database.commit()
    await database.commit()
    assert database.groups[2:] == [2, 7]
    assert all(future.done() for future in early + late)
    await stop(database, both)


async def test_a_lonely_write_waits_for_no_turn_again() -> None:
    """Once groups are small, they are committed side by side as before."""
    database = Database()
    both = pair(database)
    await gather(both, CROWD)
    await database.commit()
    await gather(both, 1)
    for _ in range(2):
        await database.commit()
    await gather(both, 1)
    assert len(database.open) == 2
    await stop(database, both)


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
