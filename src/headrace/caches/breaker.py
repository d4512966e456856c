"""A breaker: after faults in a row a service is left alone for a while, longer each time."""

from __future__ import annotations

import math
from dataclasses import dataclass

TRIPS_AT = 3
REST_S_MIN, REST_S_MAX = 1.0, 30.0


@dataclass(slots=True)
class Breaker:
    """Counts faults in a row; asked with the time, in seconds of a clock that only grows."""

    faults: int = 0
    rests_until_s: float = -math.inf

    def rests(self, now_s: float) -> bool:
        """Tell whether the service is left alone now."""
        return self.faults >= TRIPS_AT and now_s < self.rests_until_s

    def lets_through(self, now_s: float) -> bool:
        """Tell whether the service may be asked; after a rest one caller tries it."""
        if self.rests(now_s):
            return False
        if self.faults >= TRIPS_AT:
            # The others wait until it is known how this try ends.
            self.rests_until_s = now_s + self._rest_s()
        return True

    def succeeded(self) -> None:
        """Ask it as before."""
        self.faults = 0

    def failed(self, now_s: float) -> bool:
        """Count a fault; tell whether it is the one that begins a rest."""
        self.faults += 1
        if self.faults >= TRIPS_AT:
            self.rests_until_s = now_s + self._rest_s()
        return self.faults == TRIPS_AT

    def _rest_s(self) -> float:
        doublings = min(self.faults - TRIPS_AT, 10)
        return min(REST_S_MAX, REST_S_MIN * 2.0 ** max(0, doublings))
