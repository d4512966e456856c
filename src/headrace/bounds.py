"""What is known of one rate of a lane (requests, tokens or images a second): its bounds.

A limit empties; the moment of a refusal is a moment at which it was empty. The rates
that fit all that was accepted and refused give a lower and an upper bound; where the
limit counts by windows, what was accepted from one opening to the next gives them.
Where nothing fits, somebody else uses the limit too: it is noisy.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from headrace.fitting import Moment, burst, fit, is_exact

EMPTIES_MAX, MOMENTS_MAX = 8, 38
"""So many are remembered: the row of a lane that processes share stays below 8 kB."""
NOISY, NOISE_MAX = 3, 4
SAYS, SAYS_EXACT = 1, 2
"""How much a refusal says of others: for them where no limit explains it, against them where one
explains all. Told to the split second a wait leaves less to chance, but where others cross a
strict limit."""
STRICT = 1.5
"""A limit that bears no more calls at once than that is strict."""
FELL = 0.85
GUESSED_LEAST, GUESSED, GUESSED_IN_DEBT = 0.8, 2.0, 1.7
"""Between such multiples of what was accepted until it opened again a window is looked for."""
DEBT_CALLS = 500.0
"""A window of so many calls and more soon earns what looking costs, and no debt counts."""
CHANCE, CHANCE_CALLS, CHANCE_WEIGHT = 0.8, 8.0, 8.0
"""An upper bound that fell to this part and below, by fewer calls than that between two refusals,
may be chance: others were served. It goes when so many times as many calls were accepted."""


@dataclass(slots=True)
class Bounds:
    """Between which rates a limit lies; all amounts are units, times are seconds.

    ``proven`` is a burst that was borne, ``safe`` a pace that was held for long;
    ``mean`` is what a call takes, ``varies``: not each takes the same.
    ``echo_until_s``: until then a sliding window repeats the rush that filled it. ``hi_before``
    is the upper bound before one that may be chance, 0 for none; it is back at ``chance_sent``.
    """

    lo: float = 0.0
    hi: float = math.inf
    proven: float | None = None
    safe: float = 0.0
    noise: int = 0
    windowed: bool = False
    window_s: float = 0.0
    echo_until_s: float = -math.inf
    echoes: int = 0
    hi_before: float = 0.0
    chance_sent: float = 0.0
    mean: float = 1.0
    varies: bool = False
    first_s: float | None = None
    first_sent: float = 0.0
    refused_units: float = 0.0
    idle_s: float = 0.0
    climb_from: Moment | None = None
    empties: deque[Moment] = field(default_factory=lambda: deque(maxlen=EMPTIES_MAX))
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MOMENTS_MAX))

    @property
    def is_noisy(self) -> bool:
        """Whether others use the limit too, so that no one rate explains what happens."""
        return self.noise >= NOISY and not self.windowed

    def sees_window(self, cost: float, wait_s: float | None, pace: float) -> bool:
        """Tell whether the limit counts by windows: it stays shut much longer than one slot."""
        slots_s = 10.0 * cost / pace
        if wait_s is not None and slots_s > 0 and wait_s > max(shut_s(wait_s), slots_s):
            self.windowed = True
        return self.windowed

    def bound(
        self, cost: float, here: Moment, pace: float, probing: bool, exact: bool = False
    ) -> None:
        """Set the bounds: the rates that fit all that is remembered, or the latest part of it.

        ``exact``: the wait was told to less than a second.
        """
        if self.first_s is not None and math.isinf(pace):
            # Nothing was held back: what was accepted so far is the best guess.
            took_s = max(1e-3, here.at_s - self.first_s)
            # A trial begins at a quarter of the upper bound: at what was seen, not below.
            self.lo, self.hi = 0.0, 4.0 * max(self.mean, (here.sent - self.first_sent) / took_s)
            return
        fitting = fit([*self.moments, here], pace, cost)
        if fitting is None and math.isinf(self.hi) and self._forget_some():
            # It rose above what was known: the climb alone tells of it.
            fitting = fit([*self.moments, here], pace, cost)
        if fitting is None and len(self.empties) >= 2:
            # No limit alone explains it: somebody else was served.
            strict = self.proven is not None and self.proven <= STRICT * self.mean
            self._others(SAYS_EXACT if exact and not strict else SAYS)
        elif fitting is not None and not probing and fitting[1] < FELL * self.lo:
            # What was borne before is not any more: it fell, or somebody else was served.
            self._others(SAYS)
            self.lo, self.hi = fitting[0], self.lo
            self.proven = max(self.mean, 0.5 * (self.proven or 0.0))
            return
        elif fitting is not None and self.noise and self._remembers_enough():
            self._others(-SAYS_EXACT if exact else -SAYS)
        while fitting is None and self._forget_some():
            fitting = fit([*self.moments, here], pace, cost)
        if fitting is None:
            self._bound_latest(cost, here, pace)
            return
        low, self.hi = fitting
        self.lo = max(low, self.lo) if self.lo < self.hi else low
        borne = burst(self.moments, self.lo)
        self.proven = max(self.mean, min(0.8 * borne, 2.0 * (self.proven or borne)))

    def _others(self, says: int) -> None:
        """Hear how much says that others use the limit too, or, below 0, that nobody does."""
        self.noise = min(NOISE_MAX, max(0, self.noise + says))

    def _forget_some(self) -> bool:
        """Drop the older part of what is remembered: the limit was another one then."""
        start = self.climb_from
        if start is not None and self.moments and self.moments[0].at_s < start.at_s:
            while self.moments and self.moments[0].at_s < start.at_s:
                self.moments.popleft()
            self.moments.appendleft(start)
            return True
        if not self._remembers_enough():
            return False
        while not self.moments[0].empty:
            self.moments.popleft()
        self.moments.popleft()
        return True

    def _remembers_enough(self) -> bool:
        """Tell whether three refusals are remembered: fewer always fit something."""
        return sum(moment.empty for moment in self.moments) >= 3

    def _bound_latest(self, cost: float, here: Moment, pace: float) -> None:
        """Set the bounds from the latest refusals alone: what was accepted between them."""
        low, high = 0.0, pace
        for past in reversed(self.empties):
            accepted, running_s = here.since(past)
            took_s = here.at_s - past.at_s
            if accepted <= 0 or took_s <= 0:
                continue
            least, most = (accepted - cost) / took_s, (accepted + cost) / max(1e-3, running_s)
            if least >= high or most <= low:
                break  # the limit was another one then
            low, high = max(low, least), min(high, most)
        self.lo = self.lo if low < self.lo < high else low
        self.hi = high

    def remember(self, here: Moment) -> None:
        """Keep a moment at which the limit was empty."""
        self.empties.append(here)
        self.moments.append(here)

    def weigh(self, before: float, here: Moment) -> None:
        """Remember the upper bound ``before`` one that a refusal set, where few calls say so."""
        self.hi_before = 0.0
        if self.empties and self.hi < CHANCE * before < math.inf:
            calls = max(1.0, here.since(self.empties[-1])[0] / self.mean)
            if calls < CHANCE_CALLS:
                self.hi_before = before
                self.chance_sent = here.sent + CHANCE_WEIGHT * calls * self.mean

    def relax(self, sent: float) -> None:
        """Take an upper bound back that was chance: many more calls were accepted since."""
        if self.hi_before and sent >= self.chance_sent:
            self.hi, self.hi_before = max(self.hi, self.hi_before), 0.0

    def bound_window(self, cost: float, here: Moment, pace: float, probing: bool) -> None:
        """Set the bounds of a limit that counts by windows: from opening to opening."""
        past = self.empties[-1] if self.empties else None
        if probing:
            self.hi = pace
            self.lo = min(self.lo, 0.95 * self.hi)
            return
        if past is None:
            assert self.first_s is not None  # nothing is refused that was not sent
            accepted, from_s = here.sent - cost - self.first_sent, self.first_s
        else:
            accepted = here.since(past)[0]
            both = past.told_s is not None and here.told_s is not None
            from_s = past.told_s if both and past.told_s is not None else past.at_s
        until_s = here.at_s
        if here.told_s is not None and (past is None or past.told_s is not None):
            until_s = here.told_s
        took_s = max(1e-3, until_s - from_s)
        self.proven = self.mean
        self.echo_until_s, self.echoes = until_s + took_s, 0
        self.window_s = took_s if past is None else min(took_s, self.window_s or took_s)
        self._around(max(accepted, 0.5 * cost), took_s)
        if past is None and here.told_s is not None:
            # Who began slowly did not fill the windows: the next one will tell.
            self.hi = math.inf

    def _around(self, accepted: float, took_s: float) -> None:
        off = 0.01 * accepted + 0.5 * self.mean
        self.lo = max(0.0, accepted - off) / took_s
        self.hi = (accepted + off) / took_s

    def guess_window(self, cost: float, now_s: float, away_s: float, *, in_debt: bool) -> None:
        """Set the bounds after the first time that a window was found to open again.

        The pause, ``away_s``, was found by doubling, and who knows how full the windows
        before were: a guess, to be tried, and nearer by where few refusals can be afforded.
        """
        self.windowed = True
        from_s = self.began_s(now_s)
        since = self.first_sent if len(self.empties) < 2 else self.empties[-2].sent
        accepted = max(cost, self.empties[-1].sent - since if self.empties else cost)
        took_s = max(1e-3, now_s - from_s)
        few = accepted < DEBT_CALLS * self.mean
        most = GUESSED_IN_DEBT if in_debt and few else GUESSED
        self.lo, self.hi = GUESSED_LEAST * accepted / took_s, most * accepted / took_s
        self.proven = self.mean
        self.window_s = 1.5 * away_s
        self.echo_until_s, self.echoes = now_s + took_s, 0

    def began_s(self, now_s: float) -> float:
        """Return when the rush began that the latest refusal ended: at the refusal before it."""
        if len(self.empties) > 1:
            return self.empties[-2].at_s
        return now_s if self.first_s is None else self.first_s

    def clear(self) -> None:
        """Forget what refusals taught."""
        self.lo, self.hi, self.proven = 0.0, math.inf, None
        self.first_s, self.hi_before = None, 0.0
        self.empties.clear()
        self.moments.clear()


def shut_s(wait_s: float | None) -> float:
    """Return what is longer than a bucket takes for one call: whole seconds were rounded up."""
    return 1.0 if wait_s is None or is_exact(wait_s) else 1.5
