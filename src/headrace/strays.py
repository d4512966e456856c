"""Refusals that no pace spares: strays, and how fast to go among them.

A provider that is overloaded refuses one call in twenty at any pace, and where others take
single calls out of a strict limit a call is refused when one of theirs came just before.
Bounds by such refusals would lead a pace down to nothing, for no fewer of them. What counts
is what comes in: a faster pace is kept when more does, a slower one when as much does.
"""

from __future__ import annotations

from dataclasses import dataclass

STEP_MOST, STEP_LEAST, DOWN = 2.0, 1.1, 0.8
"""A step up is a doubling, and its square root after each that failed; a step down is a fifth."""
GAIN = 0.55
"""A step up is kept when this part of what the pace gained comes in, and one down when no more
than this part of what the pace lost is lost."""
SURE = 1.9
"""A step up of less is kept when it gained twice running: far above a limit of one's own small
steps gain by chance as often as not, and would lead a pace up and up."""
MORE, MORE_CALLS = 2.0, 2.0
"""More is refused than strays where it is so many times as much as they were, and so many calls."""
REFUSALS, CALLS, CALLS_MIN = 3, 60, 16
"""An epoch lasts for so many refusals, or for so many calls; for the last at least."""
REST_MAX = 8
"""Most epochs from one failed step to the next: their number doubles."""
FELL = 0.5
"""Where more is refused the pace goes down to what came in, and to this part of it at most."""
PART, MEMORY_CALLS = 0.5, 400.0
"""How much of a rate is the latest epoch's word; on so many calls the share of strays rests."""
QUIET_CALLS, CALM_CALLS = 300, 180
"""After so many calls without a refusal at the base, or below it, the strays have gone."""


@dataclass(slots=True)
class Strays:
    """A climb by what comes in; paces and rates are units a second, times are seconds.

    ``pace`` is tried, ``base`` the one to go back to, at which ``rate`` came in; ``lost`` of
    ``known`` calls were strays. An epoch began at ``from_s`` with ``units`` accepted and
    ``refused`` calls until then, and has ``calls``. After ``rest`` epochs comes the next
    ``step``, up or ``down``. ``quiet`` calls were sent since a refusal, ``calm`` ones below the
    base. A small step up gained ``once``.
    """

    pace: float = 0.0
    base: float = 0.0
    rate: float = 0.0
    lost: float = 0.0
    known: float = 0.0
    step: float = STEP_MOST
    down: bool = False
    from_s: float = 0.0
    units: float = 0.0
    refused: float = 0.0
    calls: int = 0
    rest: int = 0
    rested: int = 0
    quiet: int = 0
    calm: int = 0
    once: bool = False

    @property
    def share(self) -> float:
        """Return the share of calls that are strays, 0 to 1, as far as is known."""
        return self.lost / max(1.0, self.known)

    @property
    def gone(self) -> bool:
        """Whether there are none any more."""
        return self.calm >= CALM_CALLS or (self.quiet >= QUIET_CALLS and self.pace == self.base)

    def begin(self, units: float, refused: float, now_s: float) -> None:
        """Begin an epoch, with so many units accepted and calls refused until now."""
        self.from_s, self.units, self.refused = now_s, units, refused
        self.calls = 0

    def ended(self, units: float, refused: float, now_s: float, least_s: float) -> bool:
        """Tell whether an epoch has shown enough, and judge it; no earlier than ``least_s``."""
        took_s, lost = now_s - self.from_s, refused - self.refused
        if self.calls < CALLS_MIN or took_s < least_s:
            return False
        if lost < REFUSALS and self.calls < CALLS:
            return False
        self._judge((units - self.units) / took_s, lost)
        self.begin(units, refused, now_s)
        return True

    def _judge(self, rate: float, lost: float) -> None:
        """Keep a step or take it back; at the base, hear how it does, and step in time."""
        more = lost > MORE * self.calls * self.share + MORE_CALLS
        if self.pace == self.base:
            self._hold(rate, lost, more)
            return
        far = self.pace / self.base
        if far < 1.0:
            # Below a limit all that is refused are strays.
            self._count(lost)
            self.calm = 0 if lost else self.calm + self.calls
            if 0 < self.calm < CALM_CALLS:
                return
        if rate >= (1.0 + GAIN * (far - 1.0)) * self.rate and not (more and far > 1.0):
            if 1.0 < far < SURE and not self.once:
                self.once = True
                return
            self.once = False
            self.base, self.rate = self.pace, rate
            self.rest = self.rested = 0
            self.step = min(STEP_MOST, self.step * self.step)
            self._step()
            return
        self.once = False
        if far > 1.0:
            self.step = max(STEP_LEAST, self.step**0.5)
        self.rest, self.rested = min(REST_MAX, 2 * self.rest + 1), 0
        self.pace, self.down = self.base, not self.down

    def _hold(self, rate: float, lost: float, more: bool) -> None:
        if more:
            self.pace = self.base = max(min(rate, self.base), FELL * self.base)
            self.rate, self.rested = rate, 0
            return
        self.rate += PART * (rate - self.rate)
        self.rested += 1
        if self.rested >= self.rest:
            self._step()

    def _count(self, lost: float) -> None:
        fade = min(1.0, MEMORY_CALLS / (self.known + self.calls))
        self.lost, self.known = fade * (self.lost + lost), fade * (self.known + self.calls)

    def _step(self) -> None:
        self.pace = self.base * (DOWN if self.down else self.step)
