"""The clerk: takes batch files in, ends those over their window, hands their results out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from headrace.clock import Clock
from headrace.errors import HeadraceError
from headrace.loops.loop import Loop
from headrace.store import file_batches
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.telemetry import log

IDLE_S = 1.0
SWEEP_S = 600.0
AGAIN_S = 15.0
"""What could not be done is tried again after so long; the others do not wait for it."""

Duty = Callable[[UUID], Awaitable[None]]


class Clerk(Loop):
    """Looks at what is written, so that another's clerk goes on where one's process died."""

    name = "clerk"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        take_in: Duty,
        hand_out: Duty,
        sweep: Callable[[], Awaitable[int]],
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._take_in = take_in
        self._hand_out = hand_out
        self._sweep = sweep
        self._accounts = Accounts()
        self._swept_s: float | None = None
        self._later: dict[UUID, float] = {}

    async def tick(self) -> float:
        """Do what there is to do, one thing at a time; files whose time is over go now and then."""
        async with self._database.acquire() as connection:
            due = await file_batches.due(connection, self._clock.now())
        now_s = self._clock.monotonic_s()
        self._later = {one: at for one, at in self._later.items() if at > now_s}
        for batch_id, state, is_over in due:
            if batch_id not in self._later and not self._stopping:
                await self._do(batch_id, state, is_over)
        if self._swept_s is None or now_s >= self._swept_s + SWEEP_S:
            self._swept_s = now_s
            await self._try(self._sweep(), "sweep")
        return IDLE_S

    async def _do(self, batch_id: UUID, state: str, is_over: bool) -> None:
        async with self._database.transaction() as lock:
            if not await file_batches.alone(lock, batch_id):
                return
            if state == "validating":
                duty = self._take_in(batch_id)
            elif is_over:
                duty = self._hand_out(batch_id)
            else:
                duty = self._expire(batch_id)
            if not await self._try(duty, str(batch_id)):
                self._later[batch_id] = self._clock.monotonic_s() + AGAIN_S

    async def _expire(self, batch_id: UUID) -> None:
        async with self._database.transaction() as connection:
            await file_batches.expire(connection, self._accounts, batch_id, self._clock.now())

    async def _try(self, duty: Awaitable[object], what: str) -> bool:
        """Do something; a failure is told, and ``False``, unless the database is away."""
        try:
            await duty
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError):
            raise
        except HeadraceError as error:
            log(loop=self.name).warning("duty_failed", what=what, why=str(error))
        except asyncio.CancelledError:
            raise
        except Exception:  # broad: one file must not hold up all others
            log(loop=self.name).exception("duty_failed", what=what)
        else:
            return True
        return False
