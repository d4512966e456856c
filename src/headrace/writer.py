"""Group commit: what executors hand in is gathered and committed together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import asyncpg

from headrace.clock import Clock
from headrace.errors import DatabaseError, FenceLostError
from headrace.lifecycle import ITEM_FINAL
from headrace.meter import Meter
from headrace.store import attempts, settles, spooled, starts
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.store.reachable import UNREACHED
from headrace.store.spooled import Spooled
from headrace.store.writes import Accept, Settle, Start, StartEnd
from headrace.telemetry import crash_point, log

W = TypeVar("W")
A = TypeVar("A")

GROUP_MAX = 400
WOKEN_AT_ONCE = 25
"""So many of a group walk on before anything else has its turn: see ``_wake``."""
END_ROUNDS = 12
"""How often in a row what is left is tried when the process ends: half a minute and more."""
_LOST = (
    *UNREACHED,
    asyncpg.InterfaceError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.DiskFullError,
    # A migration has changed what a prepared statement gives; the driver has forgotten it now.
    asyncpg.InvalidCachedStatementError,
    ConnectionError,
    OSError,
    TimeoutError,
)
"""Failures of a group that say nothing about its content: the group is tried again."""


_REFUSED = (asyncpg.PostgresError, asyncpg.InterfaceError)


class GroupCommit(Generic[W, A]):
    """Gathers writes and commits each group in one transaction.

    While one group is being committed the next one gathers, so the group size follows
    the load and no timer is needed. A group whose commit was cut off is looked up and
    written again (``again`` tells the write function so); one that the database refuses
    for its content is split, so that a poisonous write fails alone. A database that is away is
    waited for, however long: what was paid for would be bought again. Only a process that
    ends gives up, with ``DatabaseError``. ``told`` hears of each write once it is durable,
    with its answer.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        write: Callable[[Any, list[W], datetime, bool], Awaitable[Sequence[A]]],
        after: str,
        told: Callable[[W, A], None] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._write = write
        self._after = after
        self._told = told
        self._waiting: list[tuple[W, asyncio.Future[A]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._end_rounds = END_ROUNDS
        self.groups = 0
        self.written = 0

    def hand_in(self, write: W) -> asyncio.Future[A]:
        """Hand a write in; the future ends when it is durable, or with its error."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        self._wake.set()
        return future

    def start(self) -> None:
        """Start committing."""
        self._task = asyncio.create_task(self._run(), name=f"group-commit {self._after}")

    async def stop(self) -> None:
        """Commit what was handed in, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._waiting[:GROUP_MAX]
                del self._waiting[:GROUP_MAX]
                await self._commit(group, again=False)
            if self._closing:
                return

    async def _commit(self, group: list[tuple[W, asyncio.Future[A]]], again: bool) -> None:
        try:
            answers = await self._insist([write for write, _ in group], again)
        except Exception as error:  # broad: handed to the waiter of each write
            if len(group) > 1 and isinstance(error, _REFUSED):
                for single in group:
                    await self._commit([single], again=False)
                return
            _fail(group, error)
            return
        self.groups += 1
        self.written += len(group)
        crash_point(self._after)
        if self._told is not None:
            for (write, _), answer in zip(group, answers, strict=True):
                self._told(write, answer)
        _wake([future for _, future in group], list(answers))

    async def _insist(self, writes: list[W], again: bool) -> Sequence[A]:
        wait_s = 0.1
        while True:
            try:
                async with self._database.transaction() as connection:
                    answers = await self._write(connection, writes, self._clock.now(), again)
            except _LOST as error:
                if isinstance(error, ValueError):
                    raise  # the driver's: a value that no column takes, now or ever
                again = True
                log().warning("group_commit_again", why=str(error), again_s=wait_s)
                if self._closing:
                    self._end_rounds -= 1
                if self._end_rounds <= 0:
                    raise DatabaseError(
                        f"the database could not be written for a group of {len(writes)}",
                        remedy="See its log; nothing of the group was kept, 'headrace resume' "
                        "continues.",
                    ) from error
                await self._clock.sleep(wait_s)
                wait_s = min(5.0, wait_s * 2)
            else:
                self._end_rounds = END_ROUNDS
                return answers


def _wake(futures: list[asyncio.Future[Any]], answers: list[Any]) -> None:
    """Give those who wait their answers, a few in each turn of the loop.

    All at once would walk on together, for a good while, before any of them could be heard
    again: the database would have nothing to do meanwhile.
    """
    for future, answer in zip(futures[:WOKEN_AT_ONCE], answers, strict=False):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
    if len(futures) > WOKEN_AT_ONCE:
        rest = futures[WOKEN_AT_ONCE:], answers[WOKEN_AT_ONCE:]
        asyncio.get_running_loop().call_soon(_wake, *rest)


def _fail(group: list[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)


class Writer:
    """The group commits of a process: starts, acceptances, results that wait, settles."""

    def __init__(self, database: Database, clock: Clock, meter: Meter | None = None) -> None:
        accounts = Accounts()
        count = _Counting(meter or Meter())

        async def write_starts(
            connection: Any, group: list[Start], now: datetime, again: bool
        ) -> Sequence[Any]:
            done = await starts.already(connection, group) if again else {}
            left = [start for start in group if (start.batch_id, start.idx) not in done]
            answers = dict(
                zip(
                    map(_key, left),
                    await starts.write(connection, left, accounts, now),
                    strict=True,
                )
            )
            return [done.get(_key(start)) or answers[_key(start)] for start in group]

        async def write_settles(
            connection: Any, group: list[Settle], now: datetime, again: bool
        ) -> Sequence[Any]:
            done = await settles.already(connection, group) if again else set()
            left = [settle for settle in group if _key(settle) not in done]
            answers = dict(
                zip(
                    map(_key, left),
                    await settles.write(connection, left, accounts, now),
                    strict=True,
                )
            )
            return [True if _key(s) in done else answers[_key(s)] for s in group]

        async def write_accepts(
            connection: Any, group: list[Accept], now: datetime, again: bool
        ) -> Sequence[Any]:
            return await attempts.accept(connection, group)

        self.starts: GroupCommit[Start, StartEnd] = GroupCommit(
            database, clock, write_starts, "start-after-commit", told=count.started
        )
        self.settles: GroupCommit[Settle, bool] = GroupCommit(
            database, clock, write_settles, "settle-after-commit", told=count.settled
        )
        self.accepts: GroupCommit[Accept, None] = GroupCommit(
            database, clock, write_accepts, "after-accept"
        )

        async def write_spooled(
            connection: Any, group: list[Spooled], now: datetime, again: bool
        ) -> Sequence[Any]:
            return await spooled.keep(connection, group, now)

        self.spooled: GroupCommit[Spooled, None] = GroupCommit(
            database, clock, write_spooled, "spooled-after-commit"
        )

    def start(self) -> None:
        """Start all."""
        for group_commit in (self.starts, self.settles, self.accepts, self.spooled):
            group_commit.start()

    async def stop(self) -> None:
        """Commit what was handed in, then stop all."""
        for group_commit in (self.starts, self.accepts, self.spooled, self.settles):
            await group_commit.stop()


class _Counting:
    """Counts what became durable, where all of it passes."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def started(self, _start: Start, answer: StartEnd | Exception) -> None:
        if isinstance(answer, FenceLostError):
            self._meter.fenced += 1

    def settled(self, settle: Settle, answer: bool | Exception) -> None:
        if answer is True:
            if settle.to_state in ITEM_FINAL:
                self._meter.items[settle.to_state.value] += 1
                self._meter.charged_microcredits += settle.post_microcredits
        elif isinstance(answer, FenceLostError):
            self._meter.fenced += 1


def _key(write: Any) -> tuple[Any, int]:
    return (write.batch_id, write.idx)
