"""What somebody told of a rate, before the first call or in the headers of answers.

A told rate is kept below its limit by a small margin; a call that left late is made up for, until
the limit shows that it bears none of that; and what answers say is left of it bounds the rush at
the beginning, and shows a lane that gave a told rate up that it went too low.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from headrace.bounds import STRICT
from headrace.bucket import Bucket
from headrace.fitting import Moment, is_exact
from headrace.frame import Frame
from headrace.framing import CALLS_MIN, PAUSE_S_MIN, Framing
from headrace.trail import WIDTHS_S
from headrace.windows import SLACK, SLACK_CALLS, count

LATE_S, LATE_S_MIN = 0.02, 0.002
"""So much lateness of our own is made up for, until a limit shows that it does not bear it."""
HURRIED = 0.03
"""Lateness of so little of a slot that is made up for is no hurry."""
MARGIN_MIN, MARGIN_MAX = 0.003, 0.06
"""How far below a told rate to stay: little, and more with each refusal."""
ROOMY, ROOMY_SENT, ROOMY_LOOKS = 0.5, 0.6, 2
"""Where so much of the most that was ever left is left all the time, while so much of it was sent,
a lane is too slow, and looks up so often."""
RUSHED = 1.2
"""A window was filled in a rush where its later half took so many times what the rate lets in."""
HEARD_OFF_S = 0.002
"""So much later may a call be counted than another that was sent as late."""


@dataclass(slots=True)
class Telling(Framing):
    """Bounds of a rate of which somebody told; all amounts are units, times are seconds.

    ``bucket`` holds calls to the pace. ``told`` is the rate (``cap`` is its bucket, ``left_most``
    the most that was ever said to be left of it), ``told_before`` one that proved too high.
    ``sent`` is what calls took, ``returned`` what they gave back; ``tight_sent`` was sent when less
    than half was left, at ``tight_s``; ``left_s`` is when the latest call left; ``slides`` is what
    a told window holds that slides, 0 for none. ``strikes`` and ``beyond`` count refusals in a row
    that speak against it: soon after the one before, and that leave much less.
    """

    bucket: Bucket = field(default_factory=lambda: Bucket(math.inf, 1.0, 1.0, 0.0))
    told: float | None = None
    told_amount: float = math.inf
    told_before: float | None = None
    pinned: bool = False
    cap: Bucket | None = None
    left_most: float | None = None
    tight_sent: float = 0.0
    tight_s: float = -math.inf
    roomy_looks: int = 0
    strikes: int = 0
    beyond: int = 0
    margin: float = MARGIN_MIN
    late_s: float = LATE_S
    slides: float = field(default=0.0, metadata={"alone": 0.0})
    left_s: float = field(default=-math.inf, metadata={"alone": -math.inf})
    sent: float = 0.0
    returned: float = 0.0

    def tell(self, amount: float, window_s: float, now_s: float, pinned: bool) -> None:
        """Take a limit that was told: what it holds may go out in a rush, then its rate."""
        self.told, self.told_amount, self.pinned = amount / window_s, amount, pinned
        self.cap, self.tight_s = Bucket(self.told, amount, amount, now_s), now_s

    def left(self, remaining: float, now_s: float, *, rushing: bool) -> None:
        """Hear how much the provider says is left of a told limit: no rush goes beyond it.

        A pace is held to without: what came in since the answer's call is not in it.
        """
        if self.cap is not None:
            if rushing:
                self.cap.spill(now_s, max(0.0, remaining))
            self.left_most = max(self.left_most or 0.0, remaining)
            if remaining < ROOMY * self.left_most or not self.left_most:
                self.tight_sent, self.tight_s = self.sent, now_s

    def departed(self, cost: float, taken_s: float, now_s: float, gap_s: float) -> float:
        """Hear that a call left now that was to leave at ``taken_s``, ``gap_s`` after another.

        Returns how long after the other it left.
        """
        if self.told is not None:
            sent_s = max(taken_s, now_s)
            gap_s, self.left_s = sent_s - self.left_s, sent_s
        if now_s > taken_s:
            self.frame_moved(taken_s, now_s)
            if self.told is not None and self.late_s < LATE_S:
                # A limit that showed that it makes up for nothing.
                self.bucket.left(cost, now_s)
        return gap_s

    @property
    def told_at_once(self) -> float:
        """How much a told limit may let through at once, as far as it was said."""
        return min(self.told_amount, math.inf if self.left_most is None else self.left_most)

    @property
    def told_window_s(self) -> float:
        """How long the window is, or was, of which somebody told; infinite for none."""
        rate = self.told or self.told_before
        return self.told_amount / rate if rate else math.inf

    def is_roomy(self, now_s: float) -> bool:
        """Tell whether answers say again and again that half is left of what was once told.

        Whole windows at their limit cannot be behind it: so much was sent meanwhile, or none is
        as long. Who says so and refuses a look all the same is not asked a third time.
        """
        if self.told_before is None or not self.left_most or self.roomy_looks >= ROOMY_LOOKS:
            return False
        if now_s - self.tight_s >= self.told_window_s:
            return True
        return self.sent - self.tight_sent >= ROOMY_SENT * self.left_most

    def hurried(self, cost: float, here: Moment, wait_s: float | None) -> bool:
        """Tell whether a call was refused for what was made up for: a strict limit bears none.

        It says nothing of the rate, then, and from now on less is made up for, down to next to
        nothing of a slot. Here are the counts of the refusal, and how long the call left after
        the one before.
        """
        if self.told is None or self.windowed:
            return False
        if here.counts is None or here.gap_s is None or here.gap_s * self.told >= cost:
            return False
        if self.late_s * self.told < HURRIED * cost:
            return False
        if wait_s is not None and is_exact(wait_s) and wait_s > self.late_s + LATE_S_MIN:
            return False
        by_width = zip(here.counts, WIDTHS_S, strict=True)
        if max(taken - self.told * width_s for taken, width_s in by_width) > STRICT * cost:
            return False
        self.late_s *= 0.25
        return True

    def sees_sliding(self, here: Moment) -> float:
        """Return what a window holds that a rush just filled and that slides; 0.0 for none such.

        So much was taken in it as the told rate lets in. Where windows are fixed the wait is
        until they open, and tells how long they are only where they began with the rush. Without
        a rush any number of seconds holds what the rate lets in, and none is the window.
        """
        return self._rushed(here, self.window_s)

    def _rushed(self, here: Moment, width_s: float) -> float:
        """Return what a rush took of a window until then; 0.0 where it is not what was told."""
        if self.told is None or here.counts is None or width_s <= 0:
            return 0.0
        taken, most = count(here, width_s), self.told * width_s
        if abs(taken - most) > SLACK_CALLS * self.mean + SLACK * most:
            return 0.0
        rushed = count(here, 0.5 * width_s) >= 0.5 * RUSHED * most
        return min(taken, most) if rushed and taken >= CALLS_MIN * self.mean else 0.0

    def until_open_s(self, pause_s: float, now_s: float, *, again: bool) -> float:
        """Return a pause until a window is likely to be open: a told one, since a rush began.

        By then what was sent first has left a window that slides, and one that is fixed has
        opened, whenever it had begun.
        """
        pause_s = Framing.until_open_s(self, pause_s, now_s, again=again)
        left_s = self.began_s(now_s) + self.told_window_s + LATE_S - now_s
        told = self.told is not None and left_s > 0
        return min(pause_s, max(PAUSE_S_MIN, left_s)) if told else pause_s

    def reopened(self, recovered_s: float, now_s: float) -> None:
        """Hear that a told limit let calls in again, since ``recovered_s``, and told no wait.

        It counts by windows where a rush had filled the told one, and that nothing was let in for
        so long says nothing of the rate then. One that slides lets nothing in any sooner.
        """
        if self.told is None or self.windowed or not self.empties:
            return
        width_s = self.told_window_s
        filled = self._rushed(self.empties[-1], width_s)
        late_s = recovered_s - self.began_s(now_s) - width_s
        if not filled or late_s > SLACK * width_s:
            return
        self.windowed, self.window_s = True, width_s
        self.slides = filled if late_s > -SLACK * width_s else 0.0
        self.echo_until_s, self.echoes = now_s + width_s, 0
        self.strikes = self.beyond = 0

    def hold_frame(self, pace: float, now_s: float) -> None:
        """Hold to a window that is believed in, or to a told one that slides, a little longer.

        Its calls leave a told one as they came: what a pause lost may be made up, and nothing goes
        while a rush has not left it yet. Where calls give back what they do not use it would hold
        too much.
        """
        if self.told is None:
            Framing.hold_frame(self, pace, now_s)
            return
        self.frame = None
        if self.trail is not None and self.slides > 0 and not self.returned:
            width_s = self.slides / self.told * (1.0 + self.margin) + HEARD_OFF_S
            self.frame = Frame.over(self.slides, width_s, self.trail.since(now_s - width_s))
