"""The gate of one process: per lane a cap, a line of waiters, and a pause after a refusal."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field

from headrace.clock import Clock
from headrace.gate import Ask, PermitEnd
from headrace.outcome import Outcome

PAUSE_S_MAX = 300.0
"""A lane is never held shut longer than this: then one call asks the provider again."""


@dataclass(slots=True)
class _Lane:
    concurrency: int
    in_flight: int = 0
    paused_until_s: float = -math.inf
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    opener: asyncio.Task[None] | None = None


class LocalPermit:
    """The right to start one call now, of one lane of a ``LocalGate``."""

    __slots__ = ("_gate", "_lane", "probe")

    def __init__(self, gate: LocalGate, lane: _Lane) -> None:
        self._gate = gate
        self._lane: _Lane | None = lane
        self.probe = False

    def end(self, how: PermitEnd, outcome: Outcome | None = None) -> None:
        """Give the permit back; a second end raises ``RuntimeError``."""
        lane, self._lane = self._lane, None
        if lane is None:
            raise RuntimeError(
                f"this permit was ended twice (now with {how.value!r}): "
                "end it once, in one finally block"
            )
        self._gate._ended(lane, how, outcome.wait_s if outcome is not None else None)


class LocalGate:
    """Hands out permits in the order of asking, at most ``concurrency`` of a lane at once.

    A permit ended as dropped with a wait shuts its lane until then; waits that are not
    finite or negative are ignored and long ones clamped to ``pause_s_max``. It belongs to
    one event loop.
    """

    def __init__(self, clock: Clock, pause_s_max: float = PAUSE_S_MAX) -> None:
        self._clock = clock
        self._pause_s_max = pause_s_max
        self._lanes: dict[str, _Lane] = {}

    async def acquire(self, ask: Ask) -> LocalPermit:
        """Wait in line for a permit; at once, without a future, when it is free."""
        lane, concurrency = ask.lane, ask.quota.concurrency
        if concurrency < 1:
            raise ValueError(f"concurrency of lane {lane!r} must be 1 or more, not {concurrency}")
        here = self._lanes.get(lane)
        if here is None:
            here = self._lanes[lane] = _Lane(concurrency)
        elif here.concurrency != concurrency:
            here.concurrency = concurrency
            self._admit(here)
        if here.waiters or here.in_flight >= concurrency or self._shut(here):
            await self._wait(here)
        else:
            here.in_flight += 1
        return LocalPermit(self, here)

    def in_flight(self, lane: str) -> int:
        """Return how many permits of ``lane`` are out."""
        return self._lanes[lane].in_flight if lane in self._lanes else 0

    def waiting(self, lane: str) -> int:
        """Return how many callers stand in line for ``lane``."""
        return len(self._lanes[lane].waiters) if lane in self._lanes else 0

    def paused_s(self, lane: str) -> float:
        """Return for how many seconds ``lane`` stays shut, zero when it is open."""
        here = self._lanes.get(lane)
        return max(0.0, here.paused_until_s - self._clock.monotonic_s()) if here else 0.0

    async def close(self) -> None:
        """Cancel everybody in line; permits that are out may still be ended."""
        for lane in self._lanes.values():
            while lane.waiters:
                lane.waiters.popleft().cancel()
            if lane.opener is not None:
                lane.opener.cancel()

    def _shut(self, lane: _Lane) -> bool:
        until_s = lane.paused_until_s
        return until_s != -math.inf and self._clock.monotonic_s() < until_s

    async def _wait(self, lane: _Lane) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiters.append(future)
        self._admit(lane)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                # The permit was handed over in the same tick: it goes to the next in line.
                self._ended(lane, PermitEnd.IGNORED, None)
            elif future in lane.waiters:
                lane.waiters.remove(future)
            raise

    def _ended(self, lane: _Lane, how: PermitEnd, wait_s: float | None) -> None:
        lane.in_flight -= 1
        if how is PermitEnd.DROPPED and wait_s is not None and wait_s > 0:
            # `> 0` is false for NaN; infinity is clamped like any long wait.
            until_s = self._clock.monotonic_s() + min(wait_s, self._pause_s_max)
            lane.paused_until_s = max(lane.paused_until_s, until_s)
        if lane.waiters:
            self._admit(lane)

    def _admit(self, lane: _Lane) -> None:
        """Hand permits to the first in line while there are free ones and the lane is open."""
        if lane.waiters and self._shut(lane):
            if lane.opener is None:
                lane.opener = asyncio.get_running_loop().create_task(self._open_later(lane))
            return
        while lane.waiters and lane.in_flight < lane.concurrency:
            future = lane.waiters.popleft()
            if not future.done():
                lane.in_flight += 1
                future.set_result(None)

    async def _open_later(self, lane: _Lane) -> None:
        try:
            while lane.waiters and self._shut(lane):
                await self._clock.sleep(lane.paused_until_s - self._clock.monotonic_s())
        finally:
            lane.opener = None
        self._admit(lane)
