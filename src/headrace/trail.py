"""What was taken of a rate lately, by time: fine for what is young, coarser for what is old.

Limits that count by windows are recognised by how much was taken in the seconds before a
refusal, for any number of seconds. Calls are kept one by one at first; the older they are the
more of them share a span, so that a lane of any rate keeps some hundreds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SPANS_MAX = 64
"""Of each coarseness so many spans are kept; two that are older become one."""
SHORTEST_S, LONGEST_S, RATIO = 0.25, 130.0, 1.025
USUAL_S = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0, 12.0, 15.0, 20.0, 30.0, 60.0, 120.0)


def _widths() -> tuple[float, ...]:
    found, width_s = set(USUAL_S), SHORTEST_S
    while width_s < LONGEST_S:
        if min(abs(width_s / usual_s - 1.0) for usual_s in USUAL_S) > 0.3 * (RATIO - 1.0):
            found.add(width_s)
        width_s *= RATIO
    return tuple(sorted(found))


WIDTHS_S = _widths()
"""The lengths of windows that are looked at, in seconds, ascending."""


@dataclass(slots=True)
class Span:
    """Units taken from ``from_s`` to ``until_s``, evenly."""

    from_s: float
    until_s: float
    units: float


@dataclass(slots=True)
class Trail:
    """Units by the time they were taken; times never go back. ``levels`` begin with the finest."""

    levels: list[deque[Span]] = field(default_factory=lambda: [deque()])

    def take(self, units: float, now_s: float) -> None:
        """Count units that were taken now."""
        level = self.levels[0]
        level.append(Span(now_s, now_s, units))
        if len(level) > SPANS_MAX:
            self._merge(now_s)

    def _merge(self, now_s: float) -> None:
        for number, level in enumerate(self.levels):
            if len(level) <= SPANS_MAX:
                return
            first, second = level.popleft(), level.popleft()
            if second.until_s < now_s - LONGEST_S:
                # Nothing older is asked for.
                return
            if number + 1 == len(self.levels):
                self.levels.append(deque())
            both = Span(first.from_s, second.until_s, first.units + second.units)
            self.levels[number + 1].append(both)

    def untake(self, units: float, taken_s: float) -> None:
        """Take back what was taken at ``taken_s``: it was refused."""
        for level in self.levels:
            for span in reversed(level):
                if span.from_s <= taken_s:
                    span.units -= units
                    return

    def moved(self, from_s: float, until_s: float) -> None:
        """Hear that what was taken at one moment, and lately, was so later."""
        for span in reversed(self.levels[0]):
            if span.from_s == from_s:
                span.from_s = span.until_s = until_s
            if span.from_s <= from_s:
                return

    def before(self, now_s: float) -> tuple[float, ...]:
        """Return the units that were taken in the seconds before ``now_s``, for ``WIDTHS_S``.

        What was taken since is not counted: a refusal is heard of later than it was sent.
        """
        found: list[float] = []
        total, number, last = 0.0, 0, len(WIDTHS_S)
        edge_s = now_s - WIDTHS_S[0]
        for level in self.levels:
            for span in reversed(level):
                if span.from_s > now_s:
                    continue
                while span.until_s <= edge_s:
                    found.append(total)
                    number += 1
                    if number == last:
                        return tuple(found)
                    edge_s = now_s - WIDTHS_S[number]
                while span.from_s < edge_s:
                    # The window begins inside of this span.
                    part = (span.until_s - edge_s) / (span.until_s - span.from_s)
                    found.append(total + span.units * part)
                    number += 1
                    if number == last:
                        return tuple(found)
                    edge_s = now_s - WIDTHS_S[number]
                total += span.units
        found += [total] * (last - number)
        return tuple(found)

    def since(self, from_s: float) -> list[tuple[float, float]]:
        """Return when what was taken since ``from_s``, the oldest first."""
        found = []
        for level in reversed(self.levels):
            found += [(one.until_s, one.units) for one in level if one.until_s > from_s]
        return found
