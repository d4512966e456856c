"""Attempts of many at once, or of one alone: a suspect's may take the whole process down."""

from __future__ import annotations

import asyncio

from headrace.gate import Ask, Gate, Permit, PermitEnd
from headrace.held import HeldItem
from headrace.recovery import Way, way_on
from headrace.stage import providers_of

TRUSTED_CRASHES = 1
"""So often may a worker die while it follows a known job before that job is suspected."""


def is_suspect(item: HeldItem) -> bool:
    """Tell whether an item may be what its workers died of, so that it walks alone, and last.

    One whose job is known at its provider only waits most of the time, and its result may be
    gone in minutes: after one crash it is followed at once, beside the others. Who was with
    it twice when the worker died walks alone like all suspects, so nobody else is blamed.
    """
    attempt = item.open_attempt
    if item.crashes == 0 or attempt is None or item.crashes > TRUSTED_CRASHES:
        return item.crashes > 0
    asked = [
        one for one in providers_of(item.batch.stages[item.stage]) if one.name == attempt.provider
    ]
    policy = item.batch.unknown_policy
    return not any(way_on(one.crash_class, attempt, policy) is Way.RESUME for one in asked)


class Quiet:
    """Keeps a suspect's attempt apart from all others of this process.

    Only attempts are kept apart, from their permit to what is settled after them: those are
    what a crash would lose, and be blamed for. To stand in line at a gate disturbs nobody,
    so a suspect in a slow lane holds up the others for one call and not for its wait.
    """

    def __init__(self) -> None:
        self._walking = 0
        self._alone = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def enter(self, gate: Gate, ask: Ask, alone: bool) -> Permit:
        """Return a permit when the attempt may begin; ``leave`` comes after it.

        Raises ``LaneShutError``. Whoever gets a permit while another is alone gives it back
        and asks again: permits kept meanwhile would all be used at once afterwards.
        """
        while True:
            permit = await gate.acquire(ask)
            if alone:
                try:
                    await self._become_alone()
                except BaseException:  # broad: a permit is ended exactly once, whatever happens
                    permit.end(PermitEnd.IGNORED)
                    raise
                return permit
            if self._open.is_set():
                self._walking += 1
                self._empty.clear()
                return permit
            permit.end(PermitEnd.IGNORED)
            await self._open.wait()

    async def _become_alone(self) -> None:
        await self._alone.acquire()
        self._open.clear()
        try:
            await self._empty.wait()
        except BaseException:  # broad: only a cancel comes here, and the others go on
            self.leave(True)
            raise

    def leave(self, alone: bool) -> None:
        """Let the others go on."""
        if alone:
            self._open.set()
            self._alone.release()
            return
        self._walking -= 1
        if self._walking == 0:
            self._empty.set()
