"""The ideal: how long a client that knows the rules, and has no overhead, would take."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.errors import UsageError
from headrace.limits import Load
from headrace.simulator.chances import Places, fault_of, latency_s, outage_until_s
from headrace.simulator.rules import Admitted, LaneRules
from headrace.simulator.settings import STRAY, FaultSettings, Settings
from headrace.simulator.terms import lane_rules


@dataclass(frozen=True, slots=True)
class Work:
    """An item: what its call takes, and how many of the tokens it really uses."""

    load: Load
    tokens_used: int | None = None


@dataclass(slots=True)
class Snapshot:
    """A lane as it stood at ``at_s``: its rules, and who was in flight until when.

    ``number`` is how many calls had been admitted.
    """

    at_s: float
    rules: LaneRules
    number: int = 0
    busy: list[tuple[float, Admitted]] = field(default_factory=list)


def ideal_s(settings: Settings, loads: Iterable[Load]) -> float:
    """Return the ideal makespan of the items, in their order: first send to last reply.

    Raises ``UsageError`` for an item that no limit would ever let in.
    """
    items = [Work(load) for load in loads]
    return ideal_from(settings, items, Snapshot(0.0, lane_rules(settings)))


def ideal_from(settings: Settings, items: Iterable[Work], snapshot: Snapshot) -> float:
    """Return the ideal time for the items left at a snapshot, counted from its moment.

    Calls in flight then keep their places until their end; their own replies do not
    count. The snapshot is not changed.
    """
    return _Run(settings, snapshot).makespan_s(items)


_SOMEBODYS = Work(Load())
_NOTHING = Admitted(Load(requests=0), 0.0, holds=False)


class _Run:
    """A clairvoyant client against a copy of the rules; time jumps from event to event."""

    def __init__(self, settings: Settings, snapshot: Snapshot) -> None:
        self._settings = settings
        self._rules = snapshot.rules.copy()
        self._number = snapshot.number
        self._start_s = self._now_s = snapshot.at_s
        self._places = Places(settings.latency.slots)
        self._ends: list[tuple[float, int, Admitted, Work, bool]] = []
        self._order = self._again = 0
        self._last_s = self._start_s
        for end_s, admitted in snapshot.busy:
            self._push(end_s, admitted, _SOMEBODYS, again=False)
            if settings.latency.slots is not None:
                self._places.enter(self._start_s, end_s - self._start_s)

    def makespan_s(self, items: Iterable[Work]) -> float:
        """Send all, sending again what a fault ended, and return the time to the last reply."""
        waiting = deque(items)
        while waiting or self._again:
            if not waiting:
                self._until(self._ends[0][0], waiting)
                continue
            self._now_s = outage_until_s(self._settings, self._now_s)
            if self._now_s == math.inf:
                return math.inf
            self._until(self._now_s, waiting)
            wait_s = self._rules.wait_s(waiting[0].load, self._now_s)
            if wait_s <= 0.0:
                self._send(waiting.popleft())
            else:
                self._until(self._next_s(wait_s, waiting[0].load), waiting)
        return self._last_s - self._start_s

    def _next_s(self, wait_s: float, load: Load) -> float:
        """Return when something happens that may let the next item in."""
        end_s = self._ends[0][0] if self._ends else math.inf
        next_s = min(self._now_s + wait_s, end_s, self._rules.next_event_s)
        if next_s == math.inf:
            raise UsageError(
                f"an item that takes {load.tokens} tokens and {load.images} images "
                "would never be let in",
                remedy="Raise the limits or their burst.",
            )
        return next_s

    def _until(self, now_s: float, waiting: deque[Work]) -> None:
        """Let time pass; calls that end free their places, and failed ones come again."""
        while self._ends and self._ends[0][0] <= now_s:
            end_s, _, admitted, work, again = heapq.heappop(self._ends)
            self._rules.finish(admitted, end_s, work.tokens_used)
            if again:
                self._again -= 1
                waiting.appendleft(work)
        self._now_s = max(self._now_s, now_s)

    def _send(self, work: Work) -> None:
        number, self._number = self._number, self._number + 1
        fault = fault_of(self._settings, number, self._now_s)
        if fault is not None and fault.kind in ("reset_before", STRAY):
            # Nothing was taken; it is sent again as soon as that is seen.
            end_s = self._now_s + self._settings.latency.refusal_s
            self._push(end_s, _NOTHING, work, again=True)
            return
        admitted = self._rules.admit(work.load, self._now_s)
        assert isinstance(admitted, Admitted)
        took_s = work_s(self._settings, number, fault)
        placed = self._places.enter(self._now_s, took_s)
        end_s = self._now_s + took_s if placed is None else placed[1]
        self._push(end_s, admitted, work, again=fault is not None)
        if fault is None:
            self._last_s = max(self._last_s, end_s)

    def _push(self, end_s: float, admitted: Admitted, work: Work, *, again: bool) -> None:
        self._order += 1
        self._again += again
        heapq.heappush(self._ends, (end_s, self._order, admitted, work, again))


def work_s(settings: Settings, number: int, fault: FaultSettings | None) -> float:
    """Return how long a call holds its place: errors come quickly, hanging calls hang."""
    if fault is None or fault.kind in ("failed", "aborted", "reset_after", "reset_midway"):
        return latency_s(settings, number)
    return fault.hang_s if fault.kind == "hang" else settings.latency.refusal_s
