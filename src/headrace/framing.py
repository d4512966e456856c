"""Which windows a lane believes in.

Two refusals alone are explained by a bucket as well as by windows: the bucket that a rush
emptied is a slow one, the window that it filled a fast one. The faster explanation is tried,
for it costs one refusal when it is wrong, and the slower one would cost minutes. Told waits
rule buckets out, and where they are exact they say how wide a sliding window is.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from headrace.bounds import Bounds
from headrace.fitting import Moment, fit, was_shut
from headrace.frame import Frame
from headrace.likely import likely, opening_s, within
from headrace.trail import USUAL_S, WIDTHS_S, Trail
from headrace.windows import Window, fixed, sliding

CALLS_MIN, FOUND_MIN = 5.0, 6
"""Windows of fewer calls explain anything; so few of them are chance, unless one is usual."""
CALLS_TOLD, SURE = 20.0, 1.05
"""Where whole seconds are told each trial costs one: windows of fewer calls are not tried, nor any
where a bucket whose rate is known that well explains it all."""
DOUBTS_MAX = 3
"""So many refusals that no window explains, and windows are not believed in any more."""
TOLD_APART = 3
"""After more refusals than that, a bucket that explains them all is one."""
HIGHER = 1.05
"""Windows slower than this part of a bucket's rate are not tried before it."""
TIGHT = 1.1
"""A look above bounds as near as that, when refused, says nothing of windows."""
FAILED, BORNE = 0.998, 0.995
"""A pace that was refused is above the limit by so much, one that was held for long below."""
SLOTS, PART = 12.0, 0.35
"""For so many slots and this part of its width a window is believed without a try."""
LIKELY = 0.4, 0.85
"""Between these parts of all windows that are likely the pace is looked for."""
USUAL_MOST_S = 60.5
"""Most windows are of a minute: by then, counted from its refusal, such a one has opened."""
PAUSE_S_MIN = 0.05
"""No pause is shorter, however soon a window is likely to open."""
EARLY = 0.1
"""A call that goes so much of a slot before the window lets it in tries the window."""


@dataclass(slots=True)
class Framing(Bounds):
    """Bounds that windows give as well; ``trail`` is what was taken of the rate lately.

    ``framed`` are the windows that can be, ``frame`` is the one held to; ``opens`` are moments at
    which one may open next and how likely they are, where nobody tells. ``borne`` and ``failed``
    are paces that were held and refused since; ``frame_doubts`` counts refusals that none of
    the windows explains. A lane that several processes share has no trail: it would be written
    and read for every permit.
    """

    trail: Trail | None = field(default_factory=Trail, metadata={"alone": None})
    framed: tuple[Window, ...] = field(default=(), metadata={"alone": ()})
    frame: Frame | None = field(default=None, metadata={"alone": None})
    opens: tuple[tuple[float, float], ...] = field(default=(), metadata={"alone": ()})
    borne: float = 0.0
    failed: float = math.inf
    frame_doubts: int = 0

    def framed_s(self, cost: float, now_s: float, latest_s: float, pace: float) -> float:
        """Return the seconds until ``cost`` fits into the window held to; 0.0 for none.

        Now and then one goes before that, so that a false belief does not last: the
        latest call went at ``latest_s``.
        """
        if self.frame is None:
            return 0.0
        longest_s = latest_s + SLOTS * cost / pace + PART * self.frame.width_s - now_s
        return min(self.frame.wait_s(cost, now_s), longest_s)

    def frame_take(self, cost: float, now_s: float, pace: float) -> None:
        """Count a call that is sent."""
        if self.trail is not None:
            self.trail.take(cost, now_s)
        if self.frame is None:
            return
        if self.frame.wait_s(cost, now_s) > EARLY * cost / pace:
            # It holds that much more, or the refusal says that it does not.
            self.frame.units += cost
        self.frame.take(cost, now_s)

    def frame_moved(self, taken_s: float, now_s: float) -> None:
        """Hear that a call left later than it was taken for: it leaves a window later, too."""
        if self.trail is not None:
            self.trail.moved(taken_s, now_s)
        if self.frame is not None:
            self.frame.moved(taken_s, now_s)

    def frame_refused(self, cost: float, sent_s: float) -> None:
        """Take a call back: it was refused."""
        if self.trail is not None:
            self.trail.untake(cost, sent_s)
        if self.frame is not None:
            self.frame.take(-cost, sent_s)

    def counted(self, now_s: float) -> tuple[float, ...] | None:
        """Return what was taken in the seconds before, by ``WIDTHS_S``."""
        return None if self.trail is None else self.trail.before(now_s)

    def correct(self, cost: float, mark: float, sent_s: float) -> None:
        """Take a refused call out of what counted as accepted while nobody knew better."""
        # A moment of emptiness stands in both, and as two where it was written and read since.
        for one in {id(one): one for one in (*self.moments, *self.empties)}.values():
            if one.sent < mark:
                continue
            one.refused += cost
            if one.counts is not None:
                first = bisect_left(WIDTHS_S, one.at_s - sent_s)
                late = [max(0.0, counted - cost) for counted in one.counts[first:]]
                one.counts = (*one.counts[:first], *late)

    def opened(self, shut_s: float, recovered_s: float) -> None:
        """Remember that the limit went on between two moments, where nobody told when."""
        if not self.empties:
            return
        latest = self.empties[-1]
        if latest.opened_s is None:
            latest.opened_s = 0.5 * (max(shut_s, latest.at_s) + recovered_s)
            latest.open_off_s = recovered_s - latest.opened_s

    def bound_frame(self, cost: float, here: Moment, pace: float, probing: bool) -> bool:
        """Set the bounds from the windows that can have done it; tells whether there are any."""
        if self.frame is not None:
            self.failed = min(self.failed, FAILED * pace)
        # What waits to the split second say of windows that stay shut long is known already.
        known = here.exact and self.windowed and not self.framed
        if math.isinf(pace) or self.is_noisy or known:
            self.leave_frame()
            return False
        if probing and not self.framed and self.hi < pace and self.hi < TIGHT * self.lo:
            return False
        history = [*self.moments, here]
        found = self._possible(history, cost, pace)
        if not found and self.framed and len(self.empties) >= 2:
            # Of an older limit, or of late answers: the latest refusals alone may agree.
            since_s = self.empties[-2].at_s
            found = self._possible([one for one in history if one.at_s >= since_s], cost, pace)
        if found:
            return not self._is_chance(found) and self._adopt(found, history, cost, pace)
        self.frame_doubts += 1
        if not self.framed or self.frame_doubts >= DOUBTS_MAX:
            self.leave_frame()
            return False
        self.hi = min(self.hi, self.failed, pace)
        self.lo = min(self.lo, 0.98 * self.hi)
        return True

    def bound_echo(self, cost: float, here: Moment, pace: float) -> bool:
        """Set the bounds where the calls of a rush leave a sliding window one by one, as told."""
        if not here.exact or self.is_noisy:
            return False
        history = [*self.moments, here]
        found = list(sliding(history, cost, pace))
        return bool(found) and self._adopt(found, history, cost, pace)

    def bound_likely(self, history: list[Moment], cost: float, pace: float) -> bool:
        """Set the bounds to those of the likeliest windows; tells whether there are any.

        For a limit that is known to count by windows and tells no waits.
        """
        if self.frame is not None and history[-1].empty:
            self.failed = min(self.failed, FAILED * pace)
        found = likely(history, cost, pace)
        found = [one for one in found if one.window.most >= CALLS_MIN * self.mean]
        self.opens = tuple(sorted((one.opens_s, one.weight) for one in found))
        if not found:
            return False
        self._believe(within(found, *LIKELY))
        # A rush that comes free again is explained as well: nothing need be taken for an echo.
        self.echo_until_s = -math.inf
        return True

    def _believe(self, windows: tuple[Window, ...]) -> None:
        """Believe in windows, the slowest first: they are the bounds, but for paces that failed."""
        if not self.framed:
            self.borne, self.failed = 0.0, math.inf
        self.framed = windows
        self.lo = max(self.borne, min(one.least / one.width_s for one in windows))
        self.hi = min(windows[-1].rate, self.failed)
        if self.lo > self.hi:
            self.borne = self.lo = 0.97 * self.hi
        self.lo = min(self.lo, 0.99 * self.hi)
        self.frame_doubts, self.proven = 0, self.mean

    def until_open_s(self, pause_s: float, now_s: float, *, again: bool) -> float:
        """Return a pause until a window is likely to be open, where such are believed in.

        Where none is yet, a pause that would go beyond a minute from the first refusal ends then;
        ``again``: there was one.
        """
        opens_s = opening_s(self.opens, now_s)
        if opens_s is not None:
            return max(PAUSE_S_MIN, opens_s - now_s)
        left_s = self.empties[-1].at_s + USUAL_MOST_S - now_s if again and self.empties else 0.0
        return min(pause_s, left_s) if left_s > 0 else pause_s

    def _possible(self, history: list[Moment], cost: float, pace: float) -> list[Window]:
        both = (*sliding(history, cost, pace), *fixed(history, cost, pace))
        return [one for one in both if one.most >= CALLS_MIN * self.mean]

    def _is_chance(self, found: list[Window]) -> bool:
        few = len(found) < FOUND_MIN and not any(one.width_s in USUAL_S for one in found)
        return few and not self.framed

    def _is_bucket(
        self, found: list[Window], history: list[Moment], cost: float, pace: float
    ) -> bool:
        """Tell whether a bucket explains it all, rather than the windows found, slowest first."""
        plain = fit(history, pace, cost)
        if plain is None or was_shut(history, plain[0], cost):
            return False
        last = history[-1]
        slower = found[len(found) // 2].rate <= HIGHER * plain[1]
        late = not self.framed and sum(one.empty for one in history) > TOLD_APART
        small = max(one.most for one in found) < CALLS_TOLD * self.mean
        sure = last.exact or small or plain[1] < SURE * plain[0]
        return slower or late or (last.told_s is not None and sure)

    def _adopt(self, found: list[Window], history: list[Moment], cost: float, pace: float) -> bool:
        found = sorted(found, key=lambda one: one.rate)
        if self._is_bucket(found, history, cost, pace):
            self.leave_frame()
            return False
        # The edges of what is possible are the likeliest to be wrong.
        low, high = found[len(found) // 5].rate, found[-1 - len(found) // 10].rate
        self._believe(tuple(one for one in found if low <= one.rate <= high))
        self.noise = max(0, self.noise - 1)
        return True

    def hold_frame(self, pace: float, now_s: float) -> None:
        """Hold to the window that fits a pace best, where windows are believed in."""
        self.frame = None
        if self.framed and self.trail is not None:
            nearest = min(self.framed, key=lambda one: abs(one.rate - pace))
            width_s = min(nearest.width_s, nearest.most / pace)
            self.frame = Frame.over(nearest.most, width_s, self.trail.since(now_s - width_s))

    def leave_frame(self) -> None:
        """Believe in no window any more."""
        self.framed, self.frame, self.frame_doubts, self.opens = (), None, 0, ()
        self.borne, self.failed = 0.0, math.inf

    def clear(self) -> None:
        """Forget what refusals taught."""
        Bounds.clear(self)
        self.leave_frame()
