"""The ways in which providers limit: pure arithmetic of (state, cost, time), without a clock.

Times are seconds from any fixed start, costs are requests, tokens or images.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Protocol

from headrace.limits import DAY_S

SLACK_S = 1e-9
"""Times nearer than this are the same: sums of floats differ by less."""
_SLACK = 1e-9


class Limiter(Protocol):
    """One limit. Only ``take``, ``charge``, ``give_back``, ``refused`` and ``rescale`` change it.

    ``kind`` names the way it counts. Times handed in must not go back.
    """

    kind: str

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return 0.0 when ``cost`` is admissible now, else the seconds until it would be.

        It assumes that nothing else happens: ``inf`` when only another call's end helps,
        or when ``cost`` is more than can ever be admitted.
        """
        ...

    def take(self, cost: float, now_s: float) -> None:
        """Count an admitted call; whether it is admissible is not checked again."""
        ...

    def charge(self, cost: float, now_s: float) -> None:
        """Count a refused call, where the provider does so: never into debt."""
        ...

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Refund what was taken at ``taken_s`` (unless that no longer counts)."""
        ...

    def refused(self, now_s: float) -> None:
        """Hear that this limit refused a call; most do not mind."""
        ...

    def remaining(self, now_s: float) -> float:
        """Return what could be taken now."""
        ...

    def reset_s(self, now_s: float) -> float:
        """Return the seconds until all of it can be taken again."""
        ...

    def rescale(self, factor: float, now_s: float) -> None:
        """Change the limit to ``factor`` times what it was made with."""
        ...

    def copy(self) -> Limiter:
        """Return an independent limiter in the same state."""
        ...


class TokenBucket:
    """``capacity`` at once, filled again with ``rate`` per second; full at the start."""

    kind = "bucket"
    __slots__ = ("_at_s", "_base", "_level", "capacity", "rate")

    def __init__(self, rate: float, capacity: float) -> None:
        self._base = (rate, capacity)
        self.rate, self.capacity = rate, capacity
        self._level, self._at_s = capacity, -math.inf

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return how long the bucket needs to hold ``cost``."""
        missing = cost - self.remaining(now_s)
        if missing <= _SLACK * (1.0 + cost):
            return 0.0
        return math.inf if cost > self.capacity * (1.0 + _SLACK) else missing / self.rate

    def take(self, cost: float, now_s: float) -> None:
        """Take ``cost`` out."""
        self._level, self._at_s = self.remaining(now_s) - cost, now_s

    def charge(self, cost: float, now_s: float) -> None:
        """Take what is there, ``cost`` at most."""
        held = self.remaining(now_s)
        self._level, self._at_s = max(min(held, 0.0), held - cost), now_s

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Put ``cost`` back; what does not fit is lost."""
        self._level, self._at_s = min(self.capacity, self.remaining(now_s) + cost), now_s

    def refused(self, now_s: float) -> None:
        """Do not mind."""

    def remaining(self, now_s: float) -> float:
        """Return what is in the bucket."""
        gained = (now_s - self._at_s) * self.rate
        return min(self.capacity, self._level + gained) if gained > 0 else self._level

    def reset_s(self, now_s: float) -> float:
        """Return the time to a full bucket."""
        return (self.capacity - self.remaining(now_s)) / self.rate

    def rescale(self, factor: float, now_s: float) -> None:
        """Change rate and capacity; one call must still fit where one did before."""
        held = self.remaining(now_s)
        rate, capacity = self._base
        self.rate = rate * factor
        self.capacity = max(capacity * factor, min(capacity, 1.0))
        self._level, self._at_s = min(held, self.capacity), now_s

    def copy(self) -> TokenBucket:
        """Return an independent bucket in the same state."""
        twin = TokenBucket(*self._base)
        twin.rate, twin.capacity = self.rate, self.capacity
        twin._level, twin._at_s = self._level, self._at_s
        return twin


class Gcra:
    """Strict pacing (generic cell rate algorithm): one per ``1 / rate``, ``burst`` at once.

    It keeps one number, the time at which the calls admitted so far would be paid off
    (ITU-T I.371).
    """

    kind = "gcra"
    __slots__ = ("_base", "_due_s", "burst", "rate")

    def __init__(self, rate: float, burst: float = 1.0) -> None:
        self._base = (rate, burst)
        self.rate, self.burst = rate, burst
        self._due_s = -math.inf

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return how long until the debt after this call is within the burst."""
        if cost > self.burst * (1.0 + _SLACK):
            return math.inf
        wait_s = max(self._due_s, now_s) + (cost - self.burst) / self.rate - now_s
        return wait_s if wait_s > SLACK_S else 0.0

    def take(self, cost: float, now_s: float) -> None:
        """Add the call to the debt."""
        self._due_s = max(self._due_s, now_s) + cost / self.rate

    def charge(self, cost: float, now_s: float) -> None:
        """Add the call to the debt, up to a whole burst."""
        full_s = now_s + self.burst / self.rate
        self._due_s = max(self._due_s, min(full_s, max(self._due_s, now_s) + cost / self.rate))

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Take the call off the debt."""
        self._due_s -= cost / self.rate

    def refused(self, now_s: float) -> None:
        """Do not mind."""

    def remaining(self, now_s: float) -> float:
        """Return what could be taken now."""
        return self.burst - max(0.0, self._due_s - now_s) * self.rate

    def reset_s(self, now_s: float) -> float:
        """Return the time until the debt is paid off."""
        return max(0.0, self._due_s - now_s)

    def rescale(self, factor: float, now_s: float) -> None:
        """Change the rate; the debt in calls stays."""
        debt = max(0.0, self._due_s - now_s) * self.rate
        rate, burst = self._base
        self.rate, self.burst = rate * factor, max(burst * factor, min(burst, 1.0))
        self._due_s = now_s + debt / self.rate

    def copy(self) -> Gcra:
        """Return an independent limiter in the same state."""
        twin = Gcra(*self._base)
        twin.rate, twin.burst, twin._due_s = self.rate, self.burst, self._due_s
        return twin


class FixedWindow:
    """``amount`` in each window of ``window_s``, counted anew from ``offset_s`` on."""

    kind = "fixed"
    __slots__ = ("_base", "_end_s", "_used", "amount", "offset_s", "window_s")

    def __init__(self, amount: float, window_s: float, offset_s: float = 0.0) -> None:
        self._base = amount
        self.amount, self.window_s, self.offset_s = amount, window_s, offset_s
        self._used, self._end_s = 0.0, -math.inf

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the time to the next window unless this one has room."""
        if cost <= self.remaining(now_s) + _SLACK:
            return 0.0
        return math.inf if cost > self.amount + _SLACK else self._end(now_s) - now_s

    def take(self, cost: float, now_s: float) -> None:
        """Count the call in this window."""
        if self._is_over(now_s):
            self._used, self._end_s = 0.0, self._end(now_s)
        self._used += cost

    def charge(self, cost: float, now_s: float) -> None:
        """Count the call in this window."""
        self.take(cost, now_s)

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Refund what was taken in this window; an earlier one is forgotten."""
        if self._is_over(now_s):
            return
        if taken_s is None or taken_s >= self._end_s - self.window_s - SLACK_S:
            self._used = max(0.0, self._used - cost)

    def refused(self, now_s: float) -> None:
        """Do not mind."""

    def remaining(self, now_s: float) -> float:
        """Return what is left of this window."""
        return self.amount if self._is_over(now_s) else max(0.0, self.amount - self._used)

    def reset_s(self, now_s: float) -> float:
        """Return the time to the end of the window."""
        return self._end(now_s) - now_s

    def rescale(self, factor: float, now_s: float) -> None:
        """Change the amount; one call must still fit where one did before."""
        self.amount = max(self._base * factor, min(self._base, 1.0))

    def copy(self) -> FixedWindow:
        """Return an independent window in the same state."""
        twin = self._fresh()
        twin._base, twin.amount = self._base, self.amount
        twin._used, twin._end_s = self._used, self._end_s
        return twin

    def _fresh(self) -> FixedWindow:
        return FixedWindow(self.amount, self.window_s, self.offset_s)

    def _is_over(self, now_s: float) -> bool:
        return now_s >= self._end_s - SLACK_S

    def _end(self, now_s: float) -> float:
        if not self._is_over(now_s):
            return self._end_s
        past = math.floor((now_s + SLACK_S - self.offset_s) / self.window_s)
        return self.offset_s + (past + 1) * self.window_s


class SubWindow(FixedWindow):
    """``amount`` per ``window_s``, enforced in shorter windows: 60 a minute as 1 a second.

    Windows are ``sub_s`` long, or as much longer or shorter as it takes for each to
    hold a whole number: so the rate over the long window stays what it says.
    """

    kind = "subwindow"
    __slots__ = ("_terms",)

    def __init__(self, amount: float, window_s: float, sub_s: float, offset_s: float = 0.0) -> None:
        self._terms = (amount, window_s, sub_s, offset_s)
        whole = max(1.0, math.floor(amount * sub_s / window_s + _SLACK))
        super().__init__(whole, whole * window_s / amount, offset_s)

    def _fresh(self) -> FixedWindow:
        return SubWindow(*self._terms)


class DayQuota(FixedWindow):
    """``amount`` a day, counted anew at ``reset_at_s`` and every ``day_s`` from there."""

    kind = "day"
    __slots__ = ()

    def __init__(self, amount: float, reset_at_s: float = 0.0, day_s: float = DAY_S) -> None:
        super().__init__(amount, day_s, reset_at_s)

    def _fresh(self) -> FixedWindow:
        return DayQuota(self.amount, self.offset_s, self.window_s)


class SlidingLog:
    """``amount`` in every span of ``window_s``, wherever it begins."""

    kind = "sliding"
    __slots__ = ("_base", "_costs", "_head", "_times", "_used", "amount", "window_s")

    def __init__(self, amount: float, window_s: float) -> None:
        self._base = amount
        self.amount, self.window_s = amount, window_s
        self._times: list[float] = []
        self._costs: list[float] = []
        self._head, self._used = 0, 0.0

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the time until enough of the log is older than the window."""
        missing = self._used + cost - self.amount - _SLACK * (1.0 + cost)
        if missing <= 0:
            return 0.0
        if cost > self.amount * (1.0 + _SLACK):
            return math.inf
        for at in range(self._head, len(self._times)):
            missing -= self._costs[at]
            if missing <= 0:
                wait_s = self._times[at] + self.window_s - now_s
                return wait_s if wait_s > SLACK_S else 0.0
        return 0.0

    def take(self, cost: float, now_s: float) -> None:
        """Add the call to the log."""
        self._forget(now_s)
        self._times.append(now_s)
        self._costs.append(cost)
        self._used += cost

    def charge(self, cost: float, now_s: float) -> None:
        """Add the call to the log."""
        self.take(cost, now_s)

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Lower the entry of ``taken_s``, or the latest ones."""
        self._forget(now_s)
        at = len(self._times) - 1
        if taken_s is not None:
            at = bisect_left(self._times, taken_s, self._head)
            if at == len(self._times) or self._times[at] != taken_s:
                return
        while cost > 0 and at >= self._head:
            part = min(cost, self._costs[at])
            self._costs[at] -= part
            self._used -= part
            cost -= part
            at -= 1

    def refused(self, now_s: float) -> None:
        """Do not mind."""

    def remaining(self, now_s: float) -> float:
        """Return what the last window leaves."""
        self._forget(now_s)
        return max(0.0, self.amount - self._used)

    def reset_s(self, now_s: float) -> float:
        """Return the time until the log is empty."""
        self._forget(now_s)
        return self._times[-1] + self.window_s - now_s if self._head < len(self._times) else 0.0

    def rescale(self, factor: float, now_s: float) -> None:
        """Change the amount; one call must still fit where one did before."""
        self.amount = max(self._base * factor, min(self._base, 1.0))

    def copy(self) -> SlidingLog:
        """Return an independent log in the same state."""
        twin = SlidingLog(self._base, self.window_s)
        twin.amount, twin._used = self.amount, self._used
        twin._times, twin._costs = self._times[self._head :], self._costs[self._head :]
        return twin

    def _forget(self, now_s: float) -> None:
        head, end, old_s = self._head, len(self._times), now_s - self.window_s + SLACK_S
        while head < end and self._times[head] <= old_s:
            self._used -= self._costs[head]
            head += 1
        if head > 4096 and head * 2 > end:
            del self._times[:head], self._costs[:head]
            head = 0
        self._head = head
        if head == len(self._times):
            self._used = 0.0
