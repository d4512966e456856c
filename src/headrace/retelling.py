"""A told rate over time: stated anew by answers, stated no more, and trusted again after trouble.

What answers state of a limit changes: a plan is upgraded, credit is added, a provider is in need.
What only a refusal stated is taken back by nobody. And what refusals took of a told rate, its
margin, is given back when none comes for long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.phases import Mode, Phases
from headrace.telling import LATE_S, LATE_S_MIN, MARGIN_MIN

SAME = 0.001
"""Amounts and windows that differ by less are the same."""
RETOLD_S = 60.0
"""A limit is raised by what is told at most so often: servers that disagree take turns."""
SILENCE_S, SILENCE_S_MAX = 600.0, 7200.0
"""What no answer states for so long, while calls are accepted, is not told any more; each time
that it proves true after all it holds twice as long."""
EASE_CALLS, EASED_MAX = 1000, 6
"""After so many calls of which none was refused a told rate gets a step of its margin back; after
each such step that was refused the next takes twice as many."""
STEP, EASED_TO = 1.6, 0.008
"""What is left of it a strict limit may need: there our own lateness is refused."""


@dataclass(slots=True)
class Retelling(Phases):
    """A rate of which somebody told, maybe again; all amounts are units, times are seconds.

    ``stated``: answers told it, at ``stated_s`` the latest time, and not the settings;
    ``raised_s``: when they last told more than before.
    ``next_amount`` in ``next_window_s`` is what the latest one told instead. ``easing``: a step of
    the margin was given back, and nothing refused since; ``eased`` counts those that failed.
    """

    stated: bool = False
    stated_s: float = -math.inf
    raised_s: float = -math.inf
    silence_s: float = SILENCE_S
    next_amount: float = 0.0
    next_window_s: float = 0.0
    easing: bool = False
    eased: int = 0

    @property
    def is_untold(self) -> bool:
        """Tell whether nobody ever told it."""
        return self.told is None and self.told_before is None and not self.stated

    def state(self, amount: float, window_s: float, now_s: float) -> None:
        """Hear what an answer states of a limit that was told before.

        One answer may be of another server, so two in a row count. What the settings tell stays.
        """
        if not self.stated:
            return
        self.stated_s = now_s
        if self.told is None and self.told_before is None:
            # It was stated no more, was grown beyond, and is there after all.
            self.silence_s = min(SILENCE_S_MAX, 2.0 * self.silence_s)
            self._take_on(amount, window_s, now_s)
            return
        if _same(amount, self.told_amount) and _same(window_s, self.told_window_s):
            self.next_amount = 0.0
            return
        again = _same(amount, self.next_amount) and _same(window_s, self.next_window_s)
        self.next_amount, self.next_window_s = amount, window_s
        higher = amount / window_s > (self.told or self.told_before or 0.0)
        if again and not (higher and now_s - self.raised_s < RETOLD_S):
            if higher:
                self.raised_s = now_s
            self._take_on(amount, window_s, now_s)

    def _take_on(self, amount: float, window_s: float, now_s: float) -> None:
        """Go on at a rate that is told now: without a rush, for nothing says that it is full."""
        self.next_amount = 0.0
        given_up = self.told is None and self.told_before is not None
        if given_up and amount / window_s > self.pace:
            # Who told too much before may again: one look tells.
            self.told_before, self.told_amount = amount / window_s, amount
            self.left_most, self.roomy_looks, self.look_to = None, 0, self.told_before
            return
        self.clear()
        self.windowed, self.window_s, self.slides = False, 0.0, 0.0
        self.left_most, self.roomy_looks, self.told_before = None, 0, None
        self.strikes, self.beyond, self.margin = 0, 0, MARGIN_MIN
        self.tell(amount, window_s, now_s, self.pinned)
        self._hold_told(now_s, shrink=False)

    def look(self, now_s: float) -> bool:
        """Move on where a phase has shown enough; tells whether a probe was begun."""
        troubled = self.paused_until_s > now_s or self.episode_s is not None
        if self.told is not None and self.mode is Mode.HOLD and not troubled:
            if self.stated and now_s - max(self.stated_s, self.phase_s) > self.silence_s:
                self._grow_beyond(now_s)
                return False
            self._ease(now_s)
        return Phases.look(self, now_s)

    def _grow_beyond(self, now_s: float) -> None:
        """Look above a rate that only a refusal stated: if it still holds, the next one says so."""
        rate = self.told or self.bucket.rate
        self.clear()
        self.told = self.told_before = None
        self.cap, self.slides, self.windowed = None, 0.0, False
        self._go(2.0 * rate, Mode.GROW, now_s)

    def _ease(self, now_s: float) -> None:
        if self.margin <= EASED_TO or self.told is None:
            return
        if self.phase_calls < EASE_CALLS * 2**self.eased:
            return
        self.margin = max(EASED_TO, self.margin / STEP)
        self.late_s = min(LATE_S, max(LATE_S_MIN, 4.0 * self.late_s))
        self.easing = True
        self.set_pace(self.told * (1.0 - self.margin), Mode.HOLD, now_s, at_send=True)

    def eased_too_far(self) -> None:
        """Hear of a refusal at a told rate: after a step that failed the next takes longer."""
        if self.easing:
            self.easing, self.eased = False, min(EASED_MAX, self.eased + 1)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(one, other)
