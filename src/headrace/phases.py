"""What a lane tries out with one of its rates: growing, trials between bounds, holding.

While nothing is known the pace doubles. Trials between the bounds narrow them until
they meet; from then on the lane holds just below, and now and then looks up: a probe
above the bound must be paid for from the lane's allowance of refusals. Of a noisy rate,
which others use too, it takes its share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from headrace.bounds import NOISE_MAX, NOISY
from headrace.bucket import Bucket, Spent
from headrace.fitting import Moment
from headrace.framing import BORNE
from headrace.sharing import Share
from headrace.telling import MARGIN_MAX, Telling

STEP_S = 0.5
"""The pace is doubled at most so often while nothing is known."""
NARROW, NARROW_FALLEN = 1.03, 1.2
"""Bounds nearer than this have met; after a fall it matters more when the limit is back."""
FILL = 4.0
"""A window whose size is not known yet is filled so many times faster than it was before."""
STRIKES_MAX, CLOSE_CALLS = 3, 3
BEYOND_MAX = 2
"""After so many refusals in a row that leave less than ``FALLEN`` of it, a told rate has fallen."""
TOLD_DEBT = -8.0
"""So deep in debt with refusals a told rate is not to be had: others use it, or it is wrong."""
KEPT_CALLS = 8.0
"""Of a burst that a told rate bore, so many calls are made up for after a refusal, where calls
differ: while small ones wait for another rate, what large ones need comes in."""
MADE_UP = 0.1
"""So much of a told window is made up for at once, where the window held to let nothing in."""
ROOMY_CALLS = 5
"""A lane that answers say is too slow looks up after so many calls."""
VERIFY_MAX = 5
PEACE, PEACE_FIRST, PEACE_LATE = 20.0, 12.0, 100.0
"""A look waits for so many times as long as the last pause took: the first ones for less, twice as
long each time, where the bounds are of one window or nobody told a wait, and late ones for more."""
PEACE_OPENS = 2.0
"""And the first one for so many times where it is known when a window opens: a look costs one call
then, and what was likely at first may be slow."""
TRIED = 0.8
FRAME_CALLS = 60.0
"""A trial lasts as long as the window that is believed in, or as so many calls: it may be none."""
REACHED_CALLS = 2
"""A pace was reached when more calls than that were sent at it."""
SAFE_CALLS, LONG_CALLS, CALM_CALLS = 150, 60, 400
CALM_S, CALM_CALLS_MIN = 10.0, 30
FALLEN = 0.75
"""A pace below this part of one that was held for long is a fall, and may come back."""
LOOK_S, LATER, LOOKS_MAX = 7.0, 1.15, 8
"""After a fall a lane looks up when it has held for so long, each time longer by a factor, and
as early at most so often."""
BACK = 0.9
"""A pace of so much of a told rate that had proved too high shows that it is true again."""
BOLD = 0.25
"""So far above its bounds a lane looks the first time, when they may be those of a moment."""


class Mode(StrEnum):
    """What a pace is at: nothing held back, growing, between bounds, holding, looking up."""

    OPEN = "open"
    GROW = "grow"
    TRIAL = "trial"
    HOLD = "hold"
    PROBE = "probe"


@dataclass(slots=True)
class Phases(Telling):
    """The pace of one rate and the phase it is in.

    ``longer`` are quotas of longer windows; ``allowance`` the refusals that the lane may still
    afford; ``look_to`` is a pace that one look at once is worth, 0 for none. ``reached`` is the
    highest pace at which a few calls were sent.
    """

    mode: Mode = Mode.OPEN
    longer: list[Spent] = field(default_factory=list)
    phase_s: float = 0.0
    phase_sent: float = 0.0
    phase_calls: int = 0
    phase_bound: int = 0
    due_s: float | None = None
    react_s: float = 1.0
    climb: float = 0.05
    was: float = math.inf
    virtual: Bucket = field(default_factory=lambda: Bucket(0.0, 4.0, 4.0, 0.0))
    paused_until_s: float = -math.inf
    episode_s: float | None = None
    probe_after_s: float = -math.inf
    allowance: float = 0.0
    verified: int = 0
    held_at: float = 0.0
    long_held: float = 0.0
    look_to: float = 0.0
    share: Share = field(default_factory=Share)
    reached: float = 0.0

    def spent_s(self, cost: float, now_s: float) -> float:
        """Return the seconds until the quotas of longer windows let ``cost`` pass."""
        return max((quota.wait_s(cost, now_s) for quota in self.longer), default=0.0)

    def _spent(self, now_s: float) -> None:
        """Go on at the told rate: what was told to be there is used up, without a refusal."""
        assert self.told is not None  # only a told limit has a cap
        self.proven = max(self.mean, 0.8 * self.told_at_once)
        self._go(self.told * (1.0 - self.margin), Mode.HOLD, now_s)

    @property
    def pace(self) -> float:
        """Return the pace that holds now, in units a second; ``inf`` when nothing holds back."""
        return math.inf if self.mode is Mode.OPEN else self.bucket.rate

    def set_pace(self, pace: float, mode: Mode, now_s: float, at_send: bool = False) -> None:
        """Begin a phase at ``pace``; ``at_send``: a call was sent just now."""
        if self.pinned and mode is not Mode.GROW:
            # A pinned rate bounds the pace also while the lane bears less.
            pace = min(pace, self.told or self.told_before or math.inf)
        self._note_reached()
        self.mode = mode
        self.bucket.refill(now_s)
        self.bucket.rate = pace
        self.phase_s, self.phase_sent = now_s, 0.0
        self.phase_calls = self.phase_bound = 0
        self.due_s, self.frame = None, None
        if mode in (Mode.TRIAL, Mode.HOLD):
            self.hold_frame(pace, now_s)
        self.bucket.burst = self._burst(mode, pace)
        self.bucket.level = min(self.bucket.level, self.bucket.burst)
        gap_s = 0.0 if at_send else None
        here = Moment(now_s, self.sent, self.refused_units, self.idle_s, gap_s=gap_s)
        here.counts = self.counted(now_s)
        self.moments.append(here)

    def _note_reached(self) -> None:
        """Remember the pace of a phase that ends, where calls were sent at it."""
        # What a window lets in at once says nothing of how much that is.
        rush = self.mode is Mode.OPEN or (self.windowed and self.mode is Mode.GROW)
        if self.phase_calls > REACHED_CALLS and not rush:
            self.reached = max(self.reached, self.bucket.rate)

    def _go(self, pace: float, mode: Mode, now_s: float) -> None:
        """Begin a phase at ``pace`` with nothing saved up: the limit was empty just now."""
        self.set_pace(pace, mode, now_s)
        self.bucket.spill(now_s)

    def _burst(self, mode: Mode, pace: float) -> float:
        least = self.mean + pace * self.late_s
        if self.told is not None and self.frame is not None:
            return max(least, MADE_UP * self.frame.units)
        if mode is Mode.HOLD and self.proven is not None:
            return max(least, self.proven)
        return least

    def look(self, now_s: float) -> bool:
        """Move on where a phase has shown enough; tells whether a probe was begun."""
        troubled = self.paused_until_s > now_s or self.episode_s is not None
        if self.mode is Mode.OPEN or troubled:
            return False
        if self.mode is Mode.HOLD:
            return self._hold(now_s)
        if self.due_s is None:
            if self._shown(now_s):
                self.due_s = now_s + self.react_s
        elif now_s >= self.due_s:
            self._passed(now_s)
        return False

    def _hold(self, now_s: float) -> bool:
        if self.phase_calls % CALM_CALLS == 0:
            self.noise = max(0, self.noise - 1)
        quiet = self.phase_calls >= CALM_CALLS_MIN and now_s - self.phase_s >= CALM_S
        if self.is_noisy and quiet and self.check_fallen():
            # Quiet for so long after a fall: one more surprise makes it noisy again.
            self.noise = NOISY - 1
        if self.phase_calls >= LONG_CALLS and not self.check_fallen():
            self.long_held = self.bucket.rate
        if self.is_noisy:
            # What somebody told is not exceeded, whoever else there is.
            if self.told is None and self.phase_bound * 4 >= self.phase_calls:
                self.bucket.rate = max(self.bucket.rate, self._shared_pace(self.phase_calls))
                self.hi = max(self.hi, self.bucket.rate)
            return False
        if self.phase_calls >= SAFE_CALLS:
            self.safe = max(self.safe, self.bucket.rate)
            self.borne = max(self.borne, BORNE * self.bucket.rate)
        return self._look_up(now_s)

    def _shown(self, now_s: float) -> bool:
        if self.phase_sent < TRIED * self.bucket.rate * (now_s - self.phase_s) - self.mean:
            # Something else held the calls back, so that this pace was never tried.
            if self.phase_calls > 50:
                self.set_pace(self.bucket.rate, self.mode, now_s, at_send=True)
            return False
        width_s = 0.0
        if self.frame is not None:
            width_s = min(self.frame.width_s, FRAME_CALLS * self.mean / self.bucket.rate)
        if now_s - self.phase_s < max(self.window_s, width_s):
            return False
        if self.mode is Mode.GROW:
            return self.phase_calls >= 3 and now_s - self.phase_s >= STEP_S
        if self.mode is Mode.TRIAL:
            width = 1.0 if self.lo <= 0 or math.isinf(self.hi) else self.hi / self.lo - 1.0
            return self.phase_calls >= min(60.0, max(4.0, 2.0 / width))
        if math.isinf(self.hi):
            calls = min(60.0, max(8.0, 2.0 * (self.proven or 0.0) / self.mean))
            return self.phase_calls >= calls and now_s - self.phase_s >= 0.3
        return self._overdrawn(now_s)

    def _overdrawn(self, now_s: float) -> bool:
        """Tell whether a look has sent more than the bounds before it allow for."""
        self.virtual.refill(now_s)
        most = 2.0 * self.mean
        lasted_s = now_s - self.phase_s
        if self.told_before is not None and self.left_most and lasted_s < self.told_window_s:
            # What is said to be left may be let through at once, and says nothing of the rate.
            most = max(most, self.left_most)
        return self.virtual.level < -most

    def _passed(self, now_s: float) -> None:
        if self.mode is Mode.GROW:
            self.set_pace(self.bucket.rate * 2.0, Mode.GROW, now_s, at_send=True)
        elif self.mode is Mode.TRIAL:
            self.lo = max(self.lo, self.bucket.rate * BORNE)
            self.borne = max(self.borne, self.lo)
            self.relax(self.sent)
            self._between(now_s, at_send=True)
        else:
            if math.isfinite(self.hi):
                # The steps that follow are too short to show more than that.
                self.lo, self.was, self.hi = max(self.lo, 0.98 * self.hi), self.hi, math.inf
                before = self.told_before
                if before is not None and self.bucket.rate >= BACK * before:
                    # It fell below what was told, and is back.
                    self.told, self.told_before, self.roomy_looks = before, None, 0
                    self._hold_told(now_s, shrink=False)
                    return
                if 0.0 < 0.9 * self.long_held <= self.bucket.rate <= self.long_held:
                    self.lo, self.hi = 0.96 * self.long_held, 1.02 * self.long_held
                    self._between(now_s, at_send=True)
                    return
            self.climb = min(BOLD, self.climb * 2.0)
            self.set_pace(self.bucket.rate * (1.0 + self.climb), Mode.PROBE, now_s, at_send=True)

    def _look_up(self, now_s: float) -> bool:
        roomy = self.look_to > 0 or self.is_roomy(now_s)
        if self.told is not None or (now_s < self.probe_after_s and not roomy):
            return False
        if self.phase_calls < (0 if self.look_to else ROOMY_CALLS if roomy else 30):
            return False
        if self.phase_bound * 4 < self.phase_calls:
            return False
        fallen = self.check_fallen()
        sure = self.framed and len(self.empties) >= 3 and not fallen
        early = self.verified < (LOOKS_MAX if fallen else VERIFY_MAX) and not sure
        calls, held_s = 30 * 2**self.verified, LOOK_S * LATER**self.verified
        waited = roomy or (fallen and now_s - self.phase_s >= held_s)
        if early and (self.phase_calls >= calls or waited):
            # Bounds found in passing may be those of a moment: look up early, ever later.
            self.verified += 1
        elif self.allowance < 1.0:
            return False
        base = self.hi if math.isfinite(self.hi) else self.bucket.rate
        self.climb = BOLD if self.verified == 1 else 0.05
        if fallen or roomy:
            # What was there before may be back as a whole: one refusal tells when it is not.
            before = self.look_to or self.told_before or self.long_held
            self.roomy_looks += roomy and not self.look_to
            self.look_to = 0.0
            self.climb = max(0.05, before * (1.0 - MARGIN_MAX) / base - 1.0)
        self.virtual.rate = self.hi = self.was = base
        self.climb_from = Moment(now_s, self.sent, self.refused_units, self.idle_s)
        self.set_pace(base * (1.0 + self.climb), Mode.PROBE, now_s, at_send=True)
        return True

    def peace(self, told_s: float | None) -> float:
        """Return for how many times the latest pause the next look waits."""
        if self.opens:
            return PEACE_OPENS * 2.0**self.verified
        peace = PEACE if self.verified < VERIFY_MAX else PEACE_LATE
        if told_s is None or (self.windowed and not self.framed):
            return min(peace, PEACE_FIRST * 2.0**self.verified)
        return peace

    def check_fallen(self) -> bool:
        """Tell whether the limit was much higher before: it is worth looking up by the clock."""
        return self._is_fall(self.bucket.rate)

    def _is_fall(self, pace: float) -> bool:
        return pace < FALLEN * self.long_held

    def _react(self, now_s: float) -> None:
        """Choose the next phase after a refusal."""
        if self.told is not None:
            close = 25 if self.margin >= MARGIN_MAX else CLOSE_CALLS
            few = self.phase_calls < close and self.mode is Mode.HOLD
            self.strikes = self.strikes + 1 if few else 0
            self.beyond = self.beyond + 1 if self.hi < FALLEN * self.told else 0
            borne = self.noise < NOISE_MAX and self.allowance > TOLD_DEBT
            if self.strikes < STRIKES_MAX and self.beyond < BEYOND_MAX and borne:
                self._hold_told(now_s, shrink=self.mode is not Mode.GROW)
                return
            self.told_before, self.told = self.told, None
            self.strikes = self.beyond = 0
        if self.is_noisy:
            self._share(now_s)
        else:
            self.share.known = 0.0
            self._between(now_s)

    def _share(self, now_s: float) -> None:
        """Take what others leave: as much as was accepted of late, from refusal to refusal."""
        if not self.share.known:
            self.share = Share()
            past = self.empties[0]
        else:
            past = self.empties[-2 if len(self.empties) > 1 else -1]
        here = self.empties[-1]
        accepted, took_s = here.since(past)[0], here.at_s - past.at_s
        if accepted > 0.0 or self.share.known:
            self.share.refused(accepted, took_s, self.bucket.rate, self.phase_calls, self.mean)
        else:
            # The end of the first rush.
            self.share.left, self.share.known = 0.5 * self.bucket.rate, self.mean
        pace = self._shared_pace(0)
        if pace < 0.85 * self.held_at:
            self.verified = 0
        self.held_at = pace
        self._go(pace, Mode.HOLD, now_s)

    def _shared_pace(self, calls: int) -> float:
        """Return what others leave, after so many calls: never more than was once told."""
        return min(self.share.pace(calls), self.told_before or math.inf)

    def _hold_told(self, now_s: float, shrink: bool) -> None:
        assert self.told is not None  # the caller looked
        if shrink:
            self.margin = min(MARGIN_MAX, self.margin * 1.6)
        borne = self.proven if self.varies and not self.windowed else None
        self.proven = max(self.mean, min(borne or 0.0, KEPT_CALLS * self.mean))
        self.hi = math.inf
        self._go(self.told * (1.0 - self.margin), Mode.HOLD, now_s)

    def _have_met(self) -> bool:
        return self.hi / self.lo < (NARROW_FALLEN if self._is_fall(self.hi) else NARROW)

    def _between(self, now_s: float, at_send: bool = False) -> None:
        """Choose the next pace from the bounds: a trial between them, or hold."""
        if math.isinf(self.hi) and self.windowed and self.lo > 0:
            # Fast enough to find the window's end, and not so fast as to run far past it.
            self.set_pace(min(self.bucket.rate, FILL * self.lo), Mode.GROW, now_s, at_send)
        elif math.isinf(self.hi):
            self.set_pace(self.bucket.rate * 2.0, Mode.GROW, now_s, at_send)
        elif self.allowance < 0 and self.lo > 0:
            # Too much was refused of late: stay at what is known to be safe.
            least = math.sqrt(self.lo * self.hi) if self.opens else max(self.lo, 0.7 * self.hi)
            self.set_pace(least * 0.99, Mode.HOLD, now_s, at_send)
        elif self.lo > 0 and self._have_met():
            hold = min(self.lo + 0.35 * (self.hi - self.lo), self.hi * 0.993)
            if not 0.85 * self.held_at < hold < 1.15 * self.held_at:
                self.verified = 0
            self.held_at = hold
            self.set_pace(hold, Mode.HOLD, now_s, at_send)
        else:
            middle = math.sqrt(max(self.lo, self.hi / 16.0) * self.hi)
            self.set_pace(middle, Mode.TRIAL, now_s, at_send)
        self.bucket.spill(now_s)
