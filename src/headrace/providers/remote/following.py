"""Follows jobs that a provider has taken in: asks how they stand, at a pace of their own.

Asking costs nothing but counts against a limit of its own, so all jobs of a provider
share one pace here; a lane's permit covers the making of a job and its run, not each look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from headrace.clock import Clock, sleep_unless_set
from headrace.outcome import CallFailed, Outcome, OutcomeKind

FIRST_S = 0.5
GROWTH = 1.3
MOST_S = 5.0
PAUSE_S_MAX = 60.0
EARLY_MAX = 10_000

_PASSING = frozenset(
    {
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.OVERLOADED,
        OutcomeKind.TRANSIENT,
        OutcomeKind.TIMEOUT,
        OutcomeKind.UNKNOWN,
    }
)
"""Ends of a look that say nothing about the job: it is looked at again."""

_T = TypeVar("_T")


class JobFailed(CallFailed):
    """Raised by a look: the job itself ended without a result, so it is not looked at again."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(replace(outcome, ended=True))


def pause_s(number: int) -> float:
    """Return the seconds to wait before a download is tried again for the ``number``-th time."""
    return min(8.0, 0.5 * 2.0**number)


class Follower:
    """Looks after the jobs of one provider, at most ``per_minute`` looks together.

    The first look at a job comes after ``first_s`` seconds; the waits grow by ``GROWTH``
    up to ``most_s``.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        per_minute: float,
        first_s: float = FIRST_S,
        most_s: float = MOST_S,
    ) -> None:
        self._clock = clock
        self._slot_s = 60.0 / per_minute
        self._next_s = 0.0
        self._first_s = first_s
        self._most_s = most_s
        self._waiting: dict[str, asyncio.Event] = {}
        self._early: dict[str, None] = {}

    def wake(self, provider_request_id: str) -> None:
        """Look at a job at once: somebody has said that it has ended.

        Word of a job that nobody follows yet is kept for when somebody does.
        """
        event = self._waiting.get(provider_request_id)
        if event is not None:
            event.set()
            return
        self._early[provider_request_id] = None
        if len(self._early) > EARLY_MAX:
            self._early.pop(next(iter(self._early)))

    async def follow(
        self,
        look: Callable[[], Awaitable[_T | None]],
        deadline_s: float,
        provider_request_id: str,
        *,
        first_s: float | None = None,
    ) -> _T:
        """Return what ``look`` gives in the end; it returns ``None`` while the job goes on.

        ``first_s`` is the wait before the first look, where it is another than usual: a
        result that is ready is asked for at once.

        A look that fails in passing (rate, overload, broken connection) is repeated, after
        the wait that was asked for; ``JobFailed``, whatever its kind, is the job's own end.
        Raises ``CallFailed``: that, and unknown at the deadline, so that the job is
        followed later.
        """
        event = self._waiting.setdefault(provider_request_id, asyncio.Event())
        if provider_request_id in self._early:
            del self._early[provider_request_id]
            event.set()
        try:
            return await self._until_found(look, deadline_s, provider_request_id, first_s, event)
        finally:
            self._waiting.pop(provider_request_id, None)

    async def _until_found(
        self,
        look: Callable[[], Awaitable[_T | None]],
        deadline_s: float,
        provider_request_id: str,
        first_s: float | None,
        event: asyncio.Event,
    ) -> _T:
        begun_s = self._clock.monotonic_s()
        wait_s = self._first_s if first_s is None else first_s
        last = ""
        while True:
            left_s = deadline_s - (self._clock.monotonic_s() - begun_s)
            if wait_s >= left_s and not event.is_set():
                why = f": {last}" if last else ""
                outcome = Outcome(
                    OutcomeKind.UNKNOWN,
                    f"not done within {deadline_s:g} s{why}",
                    remedy="It is followed again later; nothing is bought twice.",
                    provider_request_id=provider_request_id,
                )
                raise CallFailed(outcome)
            await self._wait(wait_s, event)
            await self._slot()
            wait_s = max(self._first_s, min(self._most_s, wait_s * GROWTH))
            try:
                found = await look()
            except JobFailed:
                raise
            except CallFailed as failure:
                if failure.outcome.kind not in _PASSING:
                    raise
                last = failure.outcome.reason
                wait_s = max(wait_s, min(PAUSE_S_MAX, failure.outcome.wait_s or 0.0))
                continue
            if found is not None:
                return found

    async def _wait(self, wait_s: float, event: asyncio.Event) -> None:
        """Wait for so long, or until the job is said to have ended."""
        if not event.is_set():
            await sleep_unless_set(self._clock, wait_s, event)
        event.clear()

    async def pause(self, number: int) -> None:
        """Wait before a download is tried again for the ``number``-th time."""
        await self._clock.sleep(pause_s(number))

    async def _slot(self) -> None:
        """Wait for this provider's next look: one after the other, never in a bunch."""
        now_s = self._clock.monotonic_s()
        at_s = max(now_s, self._next_s)
        self._next_s = at_s + self._slot_s
        if at_s > now_s:
            await self._clock.sleep(at_s - now_s)
