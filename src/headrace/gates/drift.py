"""What a worker does at a lane while the database is away: half of its last share, no burst."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SPAN_S = 10.0
"""The share of a worker is what it was given in so many seconds."""
HALF = 0.5


@dataclass(slots=True)
class Lately:
    """What a worker was given lately: permits, and the most that were out at once."""

    given: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, now_s: float, out: int) -> None:
        """Count a permit given, with how many are out."""
        self.given.append((now_s, out))
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self.given and self.given[0][0] < now_s - SPAN_S:
            self.given.popleft()

    def drift(self, now_s: float, out: int) -> Drift:
        """Return what the worker may do by itself, from now on."""
        self._forget(now_s)
        rate = HALF * len(self.given) / SPAN_S
        width = int(HALF * max([out, *(one[1] for one in self.given)]))
        return Drift(rate, max(1, width), now_s + (1.0 / rate if rate > 0 else 0.0))


@dataclass(slots=True)
class Drift:
    """A steady pace without a burst, and a cap of calls in flight; times are local."""

    rate: float
    width: int
    next_s: float

    def wait_s(self, out: int, now_s: float) -> float | None:
        """Return the seconds until a call may be sent; ``None``: not by the passing of time."""
        if self.rate <= 0 or out >= self.width:
            return None
        return max(0.0, self.next_s - now_s)

    def send(self, now_s: float) -> None:
        """Count a call that is sent now."""
        self.next_s = max(now_s, self.next_s) + 1.0 / self.rate

    def pause(self, until_s: float) -> None:
        """Send nothing before ``until_s``: a call was refused."""
        self.next_s = max(self.next_s, until_s)
