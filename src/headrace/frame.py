"""Holding to a window: what was taken in its width bounds what may be taken now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Frame:
    """At most ``units`` in any ``width_s`` seconds; ``taken`` are times and units."""

    units: float
    width_s: float
    taken: deque[tuple[float, float]] = field(default_factory=deque)
    total: float = 0.0

    @classmethod
    def over(cls, units: float, width_s: float, past: Iterable[tuple[float, float]]) -> Frame:
        """Return a frame that knows what was taken before, the oldest first."""
        frame = cls(units, width_s, deque(past))
        frame.total = sum(one for _, one in frame.taken)
        return frame

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the seconds until ``cost`` fits in; 0.0 when it does now."""
        taken, edge_s = self.taken, now_s - self.width_s
        while taken and taken[0][0] <= edge_s:
            self.total -= taken.popleft()[1]
        over = self.total + cost - max(self.units, cost)
        if over <= 1e-9:
            return 0.0
        for at_s, units in taken:
            over -= units
            if over <= 1e-9:
                return at_s + self.width_s - now_s
        return 0.0

    def take(self, cost: float, now_s: float) -> None:
        """Count what is taken now; a negative cost takes it back."""
        self.taken.append((now_s, cost))
        self.total += cost

    def moved(self, from_s: float, until_s: float) -> None:
        """Hear that what was taken at one moment was so later."""
        for place in range(len(self.taken) - 1, -1, -1):
            at_s, units = self.taken[place]
            if at_s == from_s:
                self.taken[place] = until_s, units
            if at_s <= from_s:
                return
