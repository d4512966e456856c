"""How long a limit stays shut: an episode begins with a refusal and ends when calls go on.

A pause is the wait that was told, or is found out by doubling. How long it took tells windows
from buckets; what was shut for longer than any window that is looked for was an outage, and
bounds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.bounds import shut_s
from headrace.crossing import Crossing
from headrace.framing import PAUSE_S_MIN
from headrace.phases import Mode
from headrace.trail import LONGEST_S

PAUSE_S_MAX = 60.0
BRUSHED_MAX = 3
"""Where so many refusals follow each other, somebody has shut the limit: wait, and longer."""
AWAY_SLOTS, AWAY_SLOTS_TOLD = 10.0, 40.0
"""A limit that is shut for more slots than that counts by windows; for the second, where it told
shorter waits, which others who are served make longer too."""
AWAY = 1.0 / 16.0
"""Where nobody tells a wait, a first pause is no shorter than this part of the time shut before."""
VAIN_S, VAIN = 5.0, 8.0
"""Waits that were told and kept again and again, and in vain for so many times as long, were told
by somebody who did not know."""
GONE_ON_S = 0.1
"""So soon after a pause the next call goes, where there is one."""
ALIKE = 0.25
"""Two long times for which a limit was shut, after as much but for this part, are of one window."""
PEACE_S_MAX = 600.0
"""No look waits for longer after a refusal than that, but for its price."""


@dataclass(frozen=True, slots=True)
class Before:
    """The bounds of a rate, its pace, its mode and its window, before a refusal."""

    lo: float
    hi: float
    pace: float
    mode: Mode
    windowed: bool
    window_s: float


@dataclass(slots=True)
class Episodes(Crossing):
    """A rate and the pauses after its refusals; times are seconds.

    ``streak`` counts refusals without a call accepted between them; an episode begins
    with a refusal and ends when a call that went ahead alone was not refused; the latest
    one took ``away_s``. ``before`` are bounds, pace and mode before it, where it may have been
    an outage; ``let_in`` were accepted before the latest long one, and ``open_units`` since the
    rate is known.
    """

    reacted_s: float = -math.inf
    streak: int = 0
    recovered_s: float | None = None
    away_s: float = 0.0
    before: Before | None = None
    let_in: float = 0.0
    open_units: float = 0.0

    def _note_before(self) -> None:
        """Remember what a refusal is about to change, for it may be taken back."""
        pace, mode = self.pace, self.mode
        hi = self.was if mode is Mode.PROBE else self.hi
        known = self.told is None and math.isfinite(pace)
        about = (self.lo, hi, pace, mode, self.windowed, self.window_s)
        self.before = Before(*about) if known else None

    def _recovered(self, cost: float, now_s: float) -> None:
        """Hear that calls are accepted again after a pause that had to be found out."""
        assert self.episode_s is not None
        assert self.recovered_s is not None
        began_s = self.episode_s
        # What came later than the pause was our own belief, another rate, or nothing to send.
        late_s = 0.0 if self.frame is not None else GONE_ON_S
        paused_s = max(0.0, self.paused_until_s - began_s) + late_s
        away_s = self.away_s = min(self.recovered_s - began_s, paused_s)
        told_s = self.empties[-1].told_s if self.empties else None
        least_s = shut_s(None if told_s is None else told_s - began_s)
        slots = AWAY_SLOTS if told_s is None else AWAY_SLOTS_TOLD
        # Where others are about, the pause after a first refusal is our own choice.
        shut = self.streak > 1 or not self.is_noisy
        windowed = shut and away_s > max(least_s, slots * cost / max(self.pace, 1e-9))
        self.opened(self.reacted_s, self.recovered_s)
        self.episode_s = None
        if self.told is None or self.frame is None:
            # What came in while the lane was paused is not there: the limit was empty. But since
            # one went ahead it has been filling.
            self.bucket.spill(now_s, self.bucket.rate * (now_s - self.recovered_s))
        if windowed and told_s is None:
            self.reopened(self.recovered_s, now_s)
        if self._was_outage(away_s, None if told_s is None else told_s - began_s):
            self._take_back(now_s)
        elif windowed and self.told is None and not self.windowed:
            self.guess_window(cost, now_s, away_s, in_debt=self.allowance < 0)
            if told_s is None:
                self.bound_likely(list(self.moments), cost, self.pace)
            self._between(now_s)
        else:
            self.set_pace(self.bucket.rate, self.mode, now_s)
        self.probe_after_s = now_s + min(PEACE_S_MAX, self.peace(told_s) * away_s)

    def _was_outage(self, away_s: float, wait_s: float | None) -> bool:
        """Tell whether a limit was shut for longer than a window, and is not again and again.

        A window of an hour is shut after as much each time; so is one that tells a wait, as
        ``wait_s`` at first, that has nothing to do with it.
        """
        known_s = self.window_s if self.before is None else self.before.window_s
        least_s = max(LONGEST_S, 2.0 * known_s)
        if wait_s is not None and self.streak > BRUSHED_MAX:
            least_s = min(least_s, max(VAIN_S, VAIN * wait_s))
        if away_s <= least_s or not self.empties:
            return False
        before, units = self.let_in, self.sent - self.refused_units
        self.let_in, self.open_units = units - self.open_units, units
        return abs(self.let_in - before) > ALIKE * before + self.mean

    def _take_back(self, now_s: float) -> None:
        """Forget a refusal that came of an outage: the pace was not at fault."""
        here = self.empties.pop()
        if here in self.moments:
            self.moments.remove(here)
        if self.before is None or self.is_noisy:
            self.set_pace(self.bucket.rate, self.mode, now_s)
            return
        self.lo, self.hi = self.before.lo, self.before.hi
        self.windowed, self.window_s = self.before.windowed, self.before.window_s
        probing = self.before.mode is Mode.PROBE
        self.set_pace(self.before.pace, Mode.HOLD if probing else self.before.mode, now_s)
        self.bucket.spill(now_s)

    def reopen(self, now_s: float) -> None:
        """End a long pause, and forget what answers said is used up: one call goes and looks."""
        left_s = self.paused_until_s - now_s
        if left_s > PAUSE_S_MAX:
            self.idle_s -= left_s
            self.paused_until_s = now_s
        for quota in self.longer:
            quota.used = 0.0 if quota.heeds else quota.used

    def _pause(self, now_s: float, wait_s: float | None, cost: float) -> None:
        slot_s = max(PAUSE_S_MIN, cost / self.bucket.rate if self.bucket.rate > 0 else 1.0)
        least_s = slot_s
        if wait_s is None and not self.is_noisy:
            # It was shut for long before: who asks from slot to slot asks in vain more often.
            least_s = max(slot_s, AWAY * min(self.away_s, PAUSE_S_MAX))
        guess_s = min(PAUSE_S_MAX, least_s * 2.0 ** min(20, max(0, self.streak - 1)))
        pause_s = guess_s if wait_s is None else wait_s
        if self.is_noisy:
            pause_s = max(pause_s, slot_s)
        if wait_s is not None and self.streak > 1:
            # The wait was kept, and still nothing: do not believe it alone.
            longer_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(20, self.streak))
            crossing = self.crossed and self.streak < BRUSHED_MAX
            pause_s = max(pause_s, slot_s if crossing else longer_s)
        if wait_s is None:
            pause_s = self.until_open_s(pause_s, now_s, again=self.streak > 1)
        until_s = max(self.paused_until_s, now_s + pause_s)
        self.idle_s += until_s - max(now_s, self.paused_until_s)
        self.paused_until_s = until_s
