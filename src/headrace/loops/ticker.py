"""The ticker: writes down the moments of schedules as they come, makes them, keeps their hours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from headrace.clock import Clock
from headrace.cron import due_moments, read_zone
from headrace.errors import InputError
from headrace.loops.loop import Loop
from headrace.schedule import Missed, Schedule, made_of
from headrace.store import schedule_ticks, schedules
from headrace.store.database import Database
from headrace.telemetry import crash_point, log

IDLE_S = 1.0
PLANNED_AT_ONCE = 20
DUE_AT_ONCE = 100
MADE_AT_ONCE = 2
"""Ticks that a process makes side by side: a slow source holds up few others."""
TIDY_S = 3600.0
LOG_DAYS = 90

Make = Callable[[UUID, datetime], Awaitable[bool]]


class Ticker(Loop):
    """Looks at what is written, so that another's ticker goes on where one's process died.

    ``make`` makes one due tick; ``moved`` is called when batches may go on.
    """

    name = "ticker"

    def __init__(
        self, database: Database, clock: Clock, make: Make, moved: Callable[[], None]
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._make = make
        self._moved = moved
        self._making: set[asyncio.Task[bool]] = set()
        self._tidied_s: float | None = None

    async def tick(self) -> float:
        """Write due moments down, make some, and keep batches to their hours."""
        planned = await self._plan()
        made = await self._make_some()
        await self._keep_hours()
        await self._tidy()
        return 0.0 if planned == PLANNED_AT_ONCE or made else IDLE_S

    async def stop(self) -> None:
        """End: what is being made is undone, and due for whoever comes next."""
        self._stopping = True
        for task in self._making:
            task.cancel()
        await super().stop()

    async def _plan(self) -> int:
        """Write the moments that have come, each once, and note the next."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            due = await schedules.due(connection, now, PLANNED_AT_ONCE)
            for schedule in due:
                await self._plan_one(connection, schedule, now)
        if due:
            crash_point("tick-planned")
        return len(due)

    async def _plan_one(self, connection: Any, schedule: Schedule, now: datetime) -> None:
        assert schedule.next_at is not None
        try:
            zone = read_zone(schedule.timezone)
            found = due_moments(schedule.cron, zone, schedule.next_at, now)
        except InputError as error:
            # Good when it was added: this machine lacks the timezone. Looked at again in an hour.
            log(loop=self.name).warning("no_moments", schedule=schedule.public_id, why=str(error))
            await schedules.set_next(connection, schedule.id, now + timedelta(hours=1))
            return
        made, passed = made_of(found, Missed(schedule.settings.missed), now)
        if passed:
            told = {"missed": len(passed), "from": passed[0].isoformat(), "all": found.is_whole}
            await schedule_ticks.add(connection, schedule.id, passed[-1], skipped=told)
        for at in made:
            await schedule_ticks.add(connection, schedule.id, at)
        await schedules.set_next(connection, schedule.id, found.next_at)

    async def _make_some(self) -> bool:
        """Make due ticks, of each schedule one; tell whether any was made."""
        async with self._database.acquire() as connection:
            due = await schedule_ticks.due(connection, DUE_AT_ONCE)
        if self._stopping:
            return False
        places = asyncio.Semaphore(MADE_AT_ONCE)

        async def make(schedule_id: UUID, at: datetime) -> bool:
            async with places:
                return await self._make(schedule_id, at)

        self._making = {asyncio.create_task(make(*one), name="tick") for one in due}
        try:
            ended = await asyncio.gather(*self._making, return_exceptions=True)
        finally:
            self._making = set()
        for one in ended:
            if isinstance(one, Exception):
                raise one
        return any(one is True for one in ended)

    async def _keep_hours(self) -> None:
        """Pause batches whose hours are over, and let those go on whose hours have begun."""
        async with self._database.acquire() as connection:
            bound = await schedule_ticks.bound(connection)
        now = self._clock.now()
        for batch in bound:
            is_open = batch.hours.share_at(now) > 0
            if not batch.moves(is_open):
                continue
            async with self._database.transaction() as connection:
                moved = await schedule_ticks.keep_hours(connection, batch, is_open, now)
            if moved is not None:
                log(loop=self.name).info("hours_" + moved, batch=str(batch.batch_id))
                self._moved()

    async def _tidy(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._tidied_s is not None and now_s < self._tidied_s + TIDY_S:
            return
        self._tidied_s = now_s
        async with self._database.transaction() as connection:
            await schedule_ticks.tidy(connection, self._clock.now() - timedelta(days=LOG_DAYS))
