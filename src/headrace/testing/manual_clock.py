"""A clock that moves only when a test says so: nothing sleeps, sleepers wake in their order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

_T = TypeVar("_T")

START = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 25
"""How often the loop goes round after each wake-up, so that what was woken can go on."""


class ManualClock:
    """Implements ``Clock``; wall and monotonic time move together, but for ``step_wall``."""

    def __init__(self, start: datetime = START) -> None:
        self._wall = start
        self._elapsed_s = 0.0
        self._stepped = timedelta()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the start plus all that was advanced and stepped."""
        return self._wall + timedelta(seconds=self._elapsed_s) + self._stepped

    def monotonic_s(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed_s

    async def sleep(self, duration_s: float) -> None:
        """Wait until the clock was advanced by ``duration_s``; zero or less yields once."""
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due_s = self._elapsed_s + duration_s
        heapq.heappush(self._sleepers, (due_s, next(self._order), future))
        await future

    @property
    def sleepers(self) -> int:
        """Return how many are asleep."""
        return sum(1 for _, _, future in self._sleepers if not future.done())

    @property
    def next_wake_s(self) -> float | None:
        """Return in how many seconds the next one wakes, ``None`` when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] - self._elapsed_s if self._sleepers else None

    def step_wall(self, duration_s: float) -> None:
        """Set the wall clock forward or back, as an operator or a time server does."""
        self._stepped += timedelta(seconds=duration_s)

    async def advance(self, duration_s: float) -> None:
        """Move time on; sleepers wake one after another, each at its own moment.

        Whoever is woken may sleep again, and wakes again if that falls into the span.
        """
        if not duration_s >= 0:
            raise ValueError(f"time moves forward only, not by {duration_s!r} s")
        until_s = self._elapsed_s + duration_s
        await settle()
        while (left_s := self.next_wake_s) is not None and self._elapsed_s + left_s <= until_s:
            self._wake_next()
            await settle()
        self._elapsed_s = until_s
        await settle()

    async def finish(self, work: Awaitable[_T], within_s: float = 86_400.0) -> _T:
        """Return what ``work`` gives, moving time on to each next sleeper while it waits.

        Raises ``TimeoutError`` when it needs more than ``within_s`` of this clock's time,
        and ``RuntimeError`` when it waits although nobody sleeps: it would wait for ever.
        """
        task = asyncio.ensure_future(work)
        until_s = self._elapsed_s + within_s
        try:
            await settle()
            while not task.done():
                left_s = self.next_wake_s
                if left_s is None:
                    raise RuntimeError("the work waits, but nobody sleeps: it would never end")
                if self._elapsed_s + left_s > until_s:
                    raise TimeoutError(f"the work did not end within {within_s:g} s")
                self._wake_next()
                await settle()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return task.result()

    def _wake_next(self) -> None:
        due_s, _, future = heapq.heappop(self._sleepers)
        self._elapsed_s = max(self._elapsed_s, due_s)
        if not future.done():
            future.set_result(None)


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
