"""Refusals that come every few calls: somebody else is there, or the pace is too high.

Where others take single calls out of what holds few, calls are refused every few calls at any
pace, and a lane that goes slower for it has no fewer refusals and less to show. So whoever
is refused so often asks now and then what comes in at a pace that was borne before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

REFUSALS = 5
"""So many refusals are remembered; fewer are no crowd."""
CALLS = 8.0
"""A crowd lets in no more calls than that from one refusal to the next, on average."""


@dataclass(slots=True)
class Crowd:
    """The latest refusals that were news: units accepted until then, and the second of each."""

    heard: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=REFUSALS))

    def refused(self, units: float, now_s: float) -> None:
        """Hear of a refusal, ``units`` having been accepted until ``now_s``."""
        self.heard.append((units, now_s))

    def calls(self, mean: float) -> float | None:
        """Return the calls of ``mean`` units between two refusals; None where there were few."""
        if len(self.heard) < REFUSALS:
            return None
        return (self.heard[-1][0] - self.heard[0][0]) / (REFUSALS - 1) / mean

    def rate(self, pace: float, calls: float) -> float:
        """Return the units a second that come in at ``pace``, of which each ``calls`` is refused.

        What came in of late says it as well, where that is less.
        """
        (from_units, from_s), (units, until_s) = self.heard[0], self.heard[-1]
        came = (units - from_units) / max(1e-3, until_s - from_s)
        return min(came, pace * calls / (1.0 + calls))
