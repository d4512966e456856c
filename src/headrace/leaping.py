"""A rate that finds out whether refusals come of its pace: by a leap to twice of it.

Right after a refusal a limit of one's own is empty: at twice the pace it lets in no more than
what came in since, and over several refusals no more than before. Where more comes in, the
refusals are strays: they bound nothing, and the pace goes by what comes in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from headrace.crowd import CALLS as CROWD_CALLS
from headrace.crowd import Crowd
from headrace.phases import Mode
from headrace.retelling import Retelling
from headrace.strays import REFUSALS, Strays
from headrace.telling import MARGIN_MAX

LEAP = 2.0
SURPRISES = 3
"""So many refusals at paces that were held or tried, and the rate leaps from the latest of them."""
APART_LEAST, APART_MOST = 8.0, 100.0
"""So many calls were accepted between them: fewer where the limit fell, and more cost little."""
CAME_IN, PAUSE_MOST = 0.75, 10.0
"""No leap where less than this part of the pace came in meanwhile, for then it was too fast, nor
after a wait as long as so many calls: they may all have come in."""
SPARE, SPARE_CALLS, LEAP_CALLS = 1.05, 2.0, 4.0
"""A leap outlives its first refusal when it bore so many calls, and that much more than came in
at the pace before."""
LIKE, LIKE_FRAMED, WINDOWS = 0.25, 1.2, 2.5
"""And that part of what was accepted between the refusals before, or more where windows are
believed in. It is judged after so many times as much: within one window anything seems to gain."""
LATER, DUE_MAX = 1.5, 64
"""So many times as many surprises are waited for after each leap that failed."""
SUNK_NOISY, SUNK, RISE_MOST = 0.4, 0.15, 4.0
"""Among refusals every few calls a pace that sank to such a part of one that was reached, where
others are known to be about and where not, leaps back: so many times as high at most,
or half of the way, in orders of magnitude."""
MORE = 1.75
"""Such a leap fails where so many times as many of its calls are refused as before."""
PARDONS = 3
"""Such a leap is not judged by its first refusals: they come at any pace."""
HEARD = 8.0
"""An epoch lasts so many times as long as a refusal takes to be heard of, and longer."""
FEW_CALLS, ON_CALLS = 20.0, 6
"""A first refusal after so few calls may be chance: growth goes on where so many more pass."""
NEAR = 0.05
"""When the strays have gone, the limit is looked for so near above the pace."""


@dataclass(slots=True)
class Leaping(Retelling):
    """A rate that leaps now and then; ``stray``: its refusals are not of its pace.

    ``surprises`` are the latest refusals at a pace that was held or tried: units accepted until
    then, and the second. ``due`` more are waited for, ``barred`` the next time. ``leap_from`` is
    the pace that was refused before the leap under way at ``leap_s``, 0.0 for none; ``leap_pace``
    and ``leap_mode`` are what it goes back to, ``leap_before`` the calls between the refusals
    before it. ``pardons`` refusals more do not end it, where before
    it ``leap_share`` of the calls were refused; ``crowd`` are the latest of all.
    """

    surprises: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SURPRISES))
    due: int = SURPRISES
    barred: int = SURPRISES
    leap_from: float = 0.0
    leap_s: float = 0.0
    leap_pace: float = 0.0
    leap_mode: Mode = Mode.HOLD
    leap_before: float = 0.0
    leap_share: float = 0.0
    pardons: int = 0
    crowd: Crowd = field(default_factory=Crowd)
    stray: bool = False
    strays: Strays = field(default_factory=Strays)

    def look(self, now_s: float) -> bool:
        """Move on where a phase has shown enough; tells whether a probe was begun."""
        if self.told is not None or not (self.stray or self.leap_from):
            return Retelling.look(self, now_s)
        self.strays.calls += 1
        self.strays.quiet += 1
        self._climb(now_s)
        return False

    def strayed(self, now_s: float, wait_s: float | None) -> bool:
        """Hear of a refusal; tells whether it bounds nothing."""
        if self.told is not None or not (self.stray or self.leap_from):
            self._ashore()
            return False
        if self.leap_from and not self._outlived(now_s):
            self.pardons -= 1
            if self.pardons < 0:
                self._fall_back(now_s)
                return True
        # No call need go ahead alone: what was refused says nothing of the next.
        self.strays.quiet, self.episode_s = 0, None
        self._climb(now_s, wait_s or 0.0)
        return True

    def grows_on(self, pace: float, mode: Mode, now_s: float) -> bool:
        """Tell whether to grow on after the first refusal, for few calls were sent before it."""
        if self.told is not None or self.windowed or mode is not Mode.GROW:
            return False
        if len(self.empties) > 1 or self._accepted() - self.first_sent > FEW_CALLS * self.mean:
            return False
        self._go(pace, Mode.GROW, now_s)
        return True

    def stop_growing(self, now_s: float) -> None:
        """Take the way of a refusal after all: growth went on, and was refused at once."""
        if self.mode is Mode.GROW and self.told is None and math.isfinite(self.hi):
            self._react(now_s)

    def _passed(self, now_s: float) -> None:
        if self.mode is Mode.GROW and math.isfinite(self.hi):
            if self.phase_calls < ON_CALLS:
                return
            # What was refused before was not refused for its pace.
            self.hi = math.inf
        Retelling._passed(self, now_s)

    def leap(self, pace: float, mode: Mode, now_s: float, wait_s: float | None) -> None:
        """Hear of a refusal at a pace that was held or tried; leap where there were enough."""
        if self.told is not None or mode not in (Mode.HOLD, Mode.TRIAL):
            return
        if self.leap_back(now_s, wait_s):
            return
        units = self._accepted()
        self.surprises.append((units, now_s))
        self.due -= 1
        if self.due > 0 or len(self.surprises) < SURPRISES:
            return
        from_units, from_s = self.surprises[0]
        apart, rate = units - from_units, (units - from_units) / max(1e-3, now_s - from_s)
        pause_s = wait_s or 0.0
        if not APART_LEAST <= apart / self.mean <= APART_MOST or rate < CAME_IN * pace:
            return
        if pause_s * pace > PAUSE_MOST * self.mean:
            return
        self.leap_mode = self.mode
        self.leap_before = apart / self.mean / (SURPRISES - 1)
        # Where a rate was told and given up, to that: it may have been true.
        to = max(LEAP * pace, (1.0 - MARGIN_MAX) * (self.told_before or 0.0))
        self._leap(pace, to, rate, now_s, pause_s)

    def leap_back(self, now_s: float, wait_s: float | None) -> bool:
        """Hear of a refusal; leap to what was reached before where a pace sank among many.

        Tells whether it did. Who rests after each refusal has less come in than the limit would
        let in, where that holds few calls, and goes ever slower by what comes in.
        """
        pace = self.bucket.rate
        calls = self.crowd.calls(self.mean)
        if self.told is not None or calls is None:
            return False
        if pace >= (SUNK_NOISY if self.is_noisy else SUNK) * self.reached:
            return False
        if calls > max(CROWD_CALLS, self.share.rest if self.is_noisy else 0.0):
            # As many as came in during a rest: the limit holds them.
            return False
        self.leap_mode = Mode.HOLD
        self.leap_before = max(1.0, float(self.phase_calls))
        self.leap_share, self.pardons = 1.0 / (1.0 + calls), PARDONS
        # From far below, half of the way: at the pace it is at, learning would take hours.
        half = self.half_way(pace)
        to = min(self.reached, max(RISE_MOST * pace, half))
        # The next one waits for a pace that sank further: leaps that fail become rare.
        self.reached = half
        self._leap(pace, to, self.crowd.rate(pace, calls), now_s, wait_s or 0.0)
        return True

    def half_way(self, pace: float) -> float:
        """Return what lies half of the way from ``pace`` back to the one that was reached."""
        return math.sqrt(pace * self.reached)

    def _leap(self, pace: float, to: float, rate: float, now_s: float, pause_s: float) -> None:
        """Begin a leap from ``pace``, at which ``rate`` units a second came in."""
        self.leap_from, self.leap_s, self.leap_pace = pace, now_s, self.bucket.rate
        self.strays = Strays(to, pace, rate, 1.0, self.leap_before)
        self.strays.begin(self._accepted(), self._refused(), now_s + pause_s)
        self.episode_s = None
        self._go(to, Mode.HOLD, now_s)

    def _outlived(self, now_s: float) -> bool:
        """Tell whether a leap bore more than a limit of the pace before would have let in."""
        # What was sent just now may be refused yet.
        unheard = 0.5 * self.react_s * self.bucket.rate
        calls = (self._accepted() - self.strays.units - unheard) / self.mean
        came = (now_s - self.leap_s) * self.leap_from / self.mean
        like = (LIKE_FRAMED if self.framed else LIKE) * self.leap_before
        return calls >= max(LEAP_CALLS, SPARE * came + SPARE_CALLS, like)

    def _fall_back(self, now_s: float) -> None:
        self.due = self.barred = min(DUE_MAX, int(LATER * self.barred))
        self.surprises.clear()
        self._go(self.leap_pace, self.leap_mode, now_s)
        self._end_leap()

    def _end_leap(self) -> None:
        self.leap_from, self.leap_share, self.pardons = 0.0, 0.0, 0

    def _note_reached(self) -> None:
        if not self.leap_from:
            # What a leap comes to is reached when it lands.
            Retelling._note_reached(self)

    def _climb(self, now_s: float, pause_s: float = 0.0) -> None:
        """Judge a leap or an epoch among strays that has shown enough, and take its next pace."""
        strays, pace = self.strays, self.strays.pace
        lost, calls = self._refused() - strays.refused, strays.calls
        if not self._has_shown() or not strays.ended(
            self._accepted(), self._refused(), now_s + pause_s, HEARD * self.react_s
        ):
            return
        spared = self.leap_share > 0.0 and lost > MORE * self.leap_share * calls
        if self.leap_from and (strays.base <= self.leap_from or spared):
            # It gained nothing, or for many more refusals: the slower pace did spare them.
            self._fall_back(now_s)
            return
        if self.leap_from:
            self._land()
        if strays.gone:
            self._calm(pace, now_s)
        elif strays.pace != pace:
            self.hi = self.held_at = strays.pace
            self._go(strays.pace, Mode.HOLD, now_s)

    def _has_shown(self) -> bool:
        """Tell whether a pace was tried, and long enough where windows may let calls in."""
        few = self._refused() - self.strays.refused < REFUSALS
        if self.leap_from and few and self.strays.calls < WINDOWS * self.leap_before:
            return False
        return not few or self.phase_bound * 4 >= self.phase_calls

    def _land(self) -> None:
        """Take the refusals for strays from now on: what they taught was wrong."""
        self._end_leap()
        self.stray, self.due = True, self.barred
        self.lo, self.proven = 0.0, self.mean
        self.noise, self.windowed = 0, False
        self.leave_frame()

    def _calm(self, pace: float, now_s: float) -> None:
        """Go back to bounds: the strays have gone, and nothing was refused at a pace."""
        self._ashore()
        self.moments.clear()
        self.empties.clear()
        self.lo, self.hi = (1.0 - NEAR) * pace, (1.0 + NEAR) * self.strays.base
        self.verified = 0
        self._between(now_s, at_send=True)

    def _refused(self) -> float:
        return self.refused_units / self.mean

    def _accepted(self) -> float:
        return self.sent - self.refused_units

    def _ashore(self) -> None:
        if self.stray or self.leap_from:
            self.stray = False
            self._end_leap()
            self.surprises.clear()

    def clear(self) -> None:
        """Forget what refusals taught."""
        Retelling.clear(self)
        self._ashore()
        self.crowd.heard.clear()
