"""A bucket of our own: how much may be sent now, at a rate, with a burst."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.limits import Limit


@dataclass(slots=True)
class Bucket:
    """Fills with ``rate`` units a second up to ``burst``; what is sent is taken out.

    A call larger than the burst waits until the bucket, for its sake, holds that much.
    """

    rate: float
    burst: float
    level: float
    at_s: float

    def refill(self, now_s: float, room: float = 0.0) -> None:
        """Let in what has come since the last time, up to the burst, or to ``room`` if larger."""
        passed_s = now_s - self.at_s
        if passed_s > 0:
            self.at_s = now_s
            room = max(self.burst, room)
            if self.level < room:
                self.level = min(room, self.level + self.rate * passed_s)

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the seconds until ``cost`` may be taken; 0.0 when it may be now."""
        self.refill(now_s, cost)
        missing = cost - self.level
        if missing <= 1e-9:
            return 0.0
        return missing / self.rate if self.rate > 0 else math.inf

    def take(self, cost: float, now_s: float) -> None:
        """Take ``cost`` out, also when it is not there: the bucket then owes it."""
        self.refill(now_s, cost)
        self.level -= cost

    def give(self, amount: float, now_s: float, cost: float = 0.0, room: float = 0.0) -> None:
        """Put ``amount`` back in; what does not fit is lost.

        It holds its burst, or ``cost`` if larger, and ``room`` above that.
        """
        self.refill(now_s, cost)
        self.level = max(self.level, min(max(self.burst, cost) + room, self.level + amount))

    def left(self, cost: float, now_s: float) -> None:
        """Hear that ``cost`` went out only now: what came in until then found the bucket full."""
        self.refill(now_s)
        self.level = min(self.level, max(self.burst, cost) - cost)

    def spill(self, now_s: float, left: float = 0.0) -> None:
        """Empty the bucket down to ``left``; what it owes, it goes on owing."""
        self.refill(now_s)
        self.level = min(self.level, left)


@dataclass(slots=True)
class Spent:
    """What was used of a long quota (an hour's, a day's), counted from its first use.

    When it is used up, nothing more goes until its window is over, or ``look_s`` after the latest
    call, at ``latest_s``: where nobody says when the window began, one call looks. It ``heeds``
    what answers say of it, where they told it.
    """

    amount: float
    window_s: float
    since_s: float = -math.inf
    used: float = 0.0
    look_s: float = math.inf
    heeds: bool = False
    latest_s: float = -math.inf

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the seconds until ``cost`` may be used; 0.0 when it may be now."""
        left_s = self.since_s + self.window_s - now_s
        if left_s <= 0 or self.used + min(cost, self.amount) <= self.amount:
            return 0.0
        return max(0.0, min(left_s, self.latest_s + self.look_s - now_s))

    def take(self, cost: float, now_s: float) -> None:
        """Count what is used."""
        if now_s >= self.since_s + self.window_s:
            self.since_s, self.used = now_s, 0.0
        self.used += cost
        self.latest_s = now_s

    def hear(self, limit: Limit, in_flight: float, now_s: float) -> None:
        """Take what an answer says of it; ``in_flight`` is under way, and may not be in that."""
        self.amount = self.amount if limit.amount is None else limit.amount
        if limit.reset_s is not None:
            self.since_s, self.look_s = now_s + limit.reset_s - self.window_s, math.inf
        elif now_s >= self.since_s + self.window_s:
            self.since_s = now_s
        if limit.remaining is not None:
            self.used = max(0.0, self.amount - limit.remaining) + in_flight

    def give(self, amount: float, taken_s: float) -> None:
        """Take back what was taken at ``taken_s``, unless its window is over."""
        if taken_s >= self.since_s:
            self.used = max(0.0, self.used - amount)
