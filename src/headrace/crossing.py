"""A rate whose limit others cross: refusals that a slower pace does not spare.

Where others take single calls out of a strict limit, a call is refused when one of theirs
came just before, at any pace. The told waits show it: alone, at a pace above the limit,
they are any part of the slot by which a call comes too early; where others cross, they are
small parts of it, however slow the pace. Then a bound at every refusal would lead the pace
down to nothing, for no fewer refusals.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from headrace.fitting import is_exact
from headrace.leaping import SUNK_NOISY, Leaping
from headrace.phases import Mode

SHARE, GOAL = 0.125, 0.175
"""A told wait up to this part of the slot it should be is a brush: not news of the rate. The pace
of a crossed rate goes to where waits are as long as the other part; much beyond, it collapses."""
BRUSHES, BRUSH_CALLS, BRUSHES_MAX = 2, 100.0, 8
"""So many brushes at paces left since, within as many calls, and one more: others cross."""
LEFT = 1.25
"""A pace was left that is so many times the one refused now: nearer ones prove little."""
CALM_CALLS, TEST_EVERY = 30, 8
"""So many calls that are not refused raise the pace; brushes from one test to the next."""
PAUSED, DOUBTS = 0.5, 2
"""A rate paused so much of the time waits longer than it is told; so often found, it is barred."""
ROUNDED = 0.05
"""Whole seconds are no measure where rounding up makes more than that of a slot."""
SLOWER = 0.75
"""The pace of a test: refused there as well, it is not the pace."""


@dataclass(frozen=True, slots=True)
class Brush:
    """A refusal: the ``pace`` it met, its told wait in ``share`` of a slot, units ``sent``."""

    pace: float
    share: float
    sent: float


@dataclass(slots=True)
class Crossing(Leaping):
    """A rate that knows whether others cross it; ``crossed``: a refusal then bounds nothing.

    ``untested`` counts refusals since the last test, ``tested_from`` is the pace before the
    one under way. ``doubts`` counts how often the told waits were too short to be true, and
    ``tested_s`` and ``tested_idle_s`` are from when they are looked at.
    """

    brushes: deque[Brush] = field(default_factory=lambda: deque(maxlen=BRUSHES_MAX))
    crossed: bool = False
    untested: int = 0
    tested_from: float | None = None
    tested_s: float = 0.0
    tested_idle_s: float = 0.0
    doubts: int = 0

    def look(self, now_s: float) -> bool:
        """Move on where a phase has shown enough; tells whether a probe was begun."""
        if not self.crossed or self.told is not None:
            return Leaping.look(self, now_s)
        if self.phase_calls < CALM_CALLS or self.phase_bound * 4 < self.phase_calls:
            return False
        if self.tested_from is not None:
            self._alone(self.tested_from, now_s)
        else:
            self._cross(self.bucket.rate * (1.0 + SHARE), now_s)
        return False

    def clear(self) -> None:
        """Forget what refusals taught."""
        Leaping.clear(self)
        self._uncross()

    def brushed(self, cost: float, wait_s: float | None, now_s: float) -> bool:
        """Hear of a refusal with its told wait; tells whether others were the reason."""
        pace = self.pace
        if wait_s is None or self.told is not None or self._is_no_share(wait_s, cost):
            # Nothing that is measured in parts of a slot.
            self._uncross()
            return False
        share = wait_s * pace / cost
        if not self.crossed:
            highest = self._brush(pace, share)
            if highest is None:
                return False
            self.crossed = True
            self._begin(now_s)
            # Where it is found out late, half of the way back: told waits lead it on from there.
            late = highest < SUNK_NOISY * self.reached
            self._cross(self.half_way(highest) if late else highest, now_s)
            return True
        self.untested += 1
        if self.tested_from is not None:
            pace, self.tested_from = self.tested_from, None
        elif self.untested >= TEST_EVERY:
            if self.idle_s - self.tested_idle_s > PAUSED * (now_s - self.tested_s):
                # Who names waits that are too short would drive the pace up and up.
                self.doubts += 1
                self._uncross()
                return False
            self._begin(now_s)
            self.tested_from = pace
            self._cross(SLOWER * pace, now_s)
            return True
        # Waits longer than that say that the pace has come near to what is left.
        self._cross(pace * (1.0 + GOAL - share), now_s)
        return True

    def _is_no_share(self, wait_s: float, cost: float) -> bool:
        """Tell whether a told wait is longer than a slot, or rounded by much of one.

        Whole seconds alone would be a brush at every slow pace.
        """
        rounded = not is_exact(wait_s) and self.pace > ROUNDED * cost
        return self.windowed or rounded or wait_s * self.pace > cost

    def _begin(self, now_s: float) -> None:
        self.untested, self.tested_s, self.tested_idle_s = 0, now_s, self.idle_s

    def _brush(self, pace: float, share: float) -> float | None:
        """Keep a refusal; returns the highest pace that was not at fault if others cross."""
        while self.brushes and self.sent - self.brushes[0].sent > BRUSH_CALLS * self.mean:
            self.brushes.popleft()
        # Alone and above the limit, the shares would be spread over all that the pace fell since.
        chance = [
            one
            for one in self.brushes
            if one.pace >= LEFT * pace and one.share <= SHARE * (one.pace / pace - 1.0)
        ]
        self.brushes.append(Brush(pace, share, self.sent))
        if share > SHARE or len(chance) < BRUSHES or self.doubts >= DOUBTS:
            return None
        return max(one.pace for one in chance)

    def _cross(self, pace: float, now_s: float) -> None:
        self.lo, self.hi = min(self.lo, pace), pace
        self.proven, self.held_at = self.mean, pace
        # No call need go ahead alone: what was refused says nothing of the next.
        self.episode_s = None
        self._go(pace, Mode.HOLD, now_s)

    def _uncross(self) -> None:
        self.crossed, self.tested_from = False, None
        self.brushes.clear()

    def _alone(self, before: float, now_s: float) -> None:
        """Go back to bounds: below the pace refusals ended, so it was the pace."""
        self._uncross()
        self.moments.clear()
        self.empties.clear()
        self.noise, self.safe = 0, 0.0
        self.lo, self.hi = self.bucket.rate, before * (1.0 + SHARE)
        self._between(now_s, at_send=True)
