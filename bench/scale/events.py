"""A discrete-event kernel: a clock, servers with a line, locks, and a log that flushes for all."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

Then = Callable[[], None]


class Simulation:
    """Events in the order of their moments, and of their making where moments are equal."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0

    def after(self, wait_s: float, do: Callable[..., None], *given: Any) -> None:
        """Let something happen so many seconds from now."""
        self._made += 1
        heapq.heappush(self._events, (self.now_s + wait_s, self._made, do, given))

    def run(self) -> None:
        """Let everything happen, until nothing is left."""
        while self._events:
            self.now_s, _, do, given = heapq.heappop(self._events)
            do(*given)


class Servers:
    """``count`` alike servers with one line, first come first served."""

    def __init__(self, simulation: Simulation, count: int) -> None:
        self._simulation, self._free = simulation, count
        self._line: deque[tuple[float, Then]] = deque()
        self.busy_s = 0.0

    def take(self, seconds: float, then: Then) -> None:
        """Have a piece of work done, in its turn."""
        if self._free:
            self._free -= 1
            self._begin(seconds, then)
        else:
            self._line.append((seconds, then))

    def _begin(self, seconds: float, then: Then) -> None:
        self.busy_s += seconds
        self._simulation.after(seconds, self._end, then)

    def _end(self, then: Then) -> None:
        if self._line:
            self._begin(*self._line.popleft())
        else:
            self._free += 1
        then()


class Lock:
    """A row that one transaction holds at a time."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._held_since_s: float | None = None
        self._line: deque[Then] = deque()
        self.held_s = 0.0
        self.waiting_max = 0

    def take(self, then: Then) -> None:
        """Go on with ``then`` when it is ours."""
        if self._held_since_s is None:
            self._held_since_s = self._simulation.now_s
            then()
        else:
            self._line.append(then)
            self.waiting_max = max(self.waiting_max, len(self._line))

    def release(self) -> None:
        """Give it to the next in line."""
        now_s = self._simulation.now_s
        assert self._held_since_s is not None
        self.held_s += now_s - self._held_since_s
        self._held_since_s = now_s if self._line else None
        if self._line:
            self._simulation.after(0.0, self._line.popleft())


class Log:
    """A write-ahead log: one flush at a time, for all who came before it began."""

    def __init__(self, simulation: Simulation, flush_s: float) -> None:
        self._simulation, self._flush_s = simulation, flush_s
        self._next: list[Then] = []
        self._is_flushing = False
        self.flushes = 0

    def flush(self, then: Then) -> None:
        """Go on with ``then`` when what is written is durable."""
        self._next.append(then)
        if not self._is_flushing:
            self._begin()

    def _begin(self) -> None:
        self._is_flushing, going, self._next = True, self._next, []
        self.flushes += 1
        self._simulation.after(self._flush_s, self._end, going)

    def _end(self, going: list[Then]) -> None:
        self._is_flushing = False
        if self._next:
            self._begin()
        for then in going:
            then()
