"""The one base of all background loops: a tick, a pause that can be cut short, a clean stop."""

from __future__ import annotations

import asyncio

import asyncpg

from headrace.clock import Clock, sleep_unless_set
from headrace.telemetry import log

FAULT_WAIT_S_MAX = 10.0


class Loop:
    """Calls ``tick`` again and again until stopped.

    ``tick`` returns the seconds to the next one. A database that is away for a while
    costs ticks, not the loop: such a failure is told and tried again, ever later; any
    other failure ends the loop and is raised by ``stop`` and ``failed``.
    """

    name = "loop"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def tick(self) -> float:
        """Do the duty once; return the seconds to wait before the next time."""
        raise NotImplementedError

    def start(self) -> None:
        """Start ticking at once; a second start changes nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self.name)

    def wake(self) -> None:
        """Let the next tick come now."""
        self._wake.set()

    async def stop(self) -> None:
        """End after the tick in progress; safe to call twice, or before ``start``."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    @property
    def failed(self) -> BaseException | None:
        """Return what ended the loop, if anything did."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def _run(self) -> None:
        faults = 0
        while not self._stopping:
            try:
                wait_s = await self.tick()
                faults = 0
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                faults += 1
                wait_s = min(FAULT_WAIT_S_MAX, 0.25 * 2**faults)
                log(loop=self.name).warning("tick_failed", why=str(error), again_s=wait_s)
            await self._pause(wait_s)

    async def _pause(self, wait_s: float) -> None:
        if self._stopping:
            return
        await sleep_unless_set(self._clock, wait_s, self._wake)
        self._wake.clear()
