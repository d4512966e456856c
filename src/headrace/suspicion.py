"""Whether a refusal that nothing explains is of the calls in flight, or of the rate.

The first one is told by what comes next: refused again, after a pause and as wide as that, it
is the width; accepted as wide as that, it was the rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PROOFS = 3
"""So many refusals after the first, at that width, prove it."""


@dataclass(slots=True)
class Suspicion:
    """``width`` calls in flight are suspected to be too many, ``None`` for no suspicion.

    ``pace_before`` is the pace at the first refusal, in units a second.
    """

    width: int | None = None
    proofs: int = 0
    latest_s: float = -math.inf
    pace_before: float = math.inf

    def accepted(self, in_flight: int) -> None:
        """Hear that a call was accepted, one of ``in_flight``."""
        if self.width is not None and in_flight >= self.width:
            self.clear()

    def refused(self, in_flight: int, sent_s: float, now_s: float, pace: float) -> int | None:
        """Hear of a refusal, one of ``in_flight``; returns how many are borne, once it is sure."""
        if self.width is None or in_flight < self.width:
            self.width, self.proofs, self.pace_before = in_flight, 0, pace
            return None
        if sent_s < self.latest_s:
            # It was sent before the one before it was heard of.
            return None
        self.proofs += 1
        self.latest_s = now_s
        if self.proofs < PROOFS:
            return None
        borne = self.width - 1
        self.clear()
        return borne

    def clear(self) -> None:
        """Suspect nothing any more."""
        self.width = None
