"""Which limits explain what happened: the rates of a bucket that fit a lane's history.

A bucket of rate ``r`` that holds ``B`` is, turned over, a leaky one: its content grows by
what is accepted and drains at ``r``. All that was accepted fitted in, so ``B`` is at
least the highest content; what was refused did not, so ``B`` is less than the content
then and the refused call together. A rate for which both cannot hold is ruled out: too
low a rate lets the content pile up without end, too high a one has it empty at a
refusal. Strict pacing is the case of a bucket that holds one call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

SPAN = 64.0
"""Rates below the pace that failed, divided by this, are not looked at."""
STEPS, EDGE_STEPS = 14, 6
STEPS_ABOVE, STEP_ABOVE = 15, 0.01
SLACK = 0.1
"""Contents nearer than this part of a call are the same."""
JITTER_S = 0.004
"""Calls arrive that much nearer to each other than they were sent, or farther apart."""
EXACT_OFF_S, WHOLE_OFF_S = 0.01, 0.5
"""How far from the told moment a limit may go on: more where whole seconds were told."""
SHUT_CALLS, HEARD_S = 1.5, 0.1
"""A bucket is shut for as long as it takes to fill for one call, and some more by chance; and
so long may pass until a refusal is heard of."""


@dataclass(slots=True)
class Moment:
    """A moment with what had happened by then: at the start of a phase, or when empty.

    ``sent`` and ``refused`` are units, ``idle_s`` the time that was spent paused;
    ``gap_s`` is how long ago the call before was sent. Where the limit was ``empty`` a
    call was refused, and ``told_s`` is when the provider said that it would go on. It did,
    or was seen to, at ``opened_s``, or ``open_off_s`` before or after: known where ``counts``
    are, the units taken in the seconds before, by the trail's widths. ``cost`` is what the
    refused call would have taken, where calls differ.
    """

    at_s: float
    sent: float
    refused: float
    idle_s: float
    empty: bool = False
    gap_s: float | None = None
    told_s: float | None = None
    counts: tuple[float, ...] | None = field(default=None, metadata={"alone": None})
    opened_s: float | None = None
    open_off_s: float = 0.0
    cost: float | None = None

    @property
    def exact(self) -> bool:
        """Whether it is known well when the limit went on, for the provider said so."""
        told = self.counts is not None and self.told_s is not None
        return told and self.open_off_s <= EXACT_OFF_S

    @property
    def shut_s(self) -> float:
        """For how long the limit was shut; ask only where it is known when it went on."""
        assert self.opened_s is not None  # the caller looked
        return self.opened_s - self.at_s

    def tell(self, wait_s: float, now_s: float) -> None:
        """Hear now that the limit goes on after so long."""
        self.told_s = now_s + wait_s
        if self.counts is not None:
            self.open_off_s = EXACT_OFF_S if is_exact(wait_s) else WHOLE_OFF_S
            self.opened_s = self.told_s - self.open_off_s

    def since(self, past: Moment) -> tuple[float, float]:
        """Return the units accepted and the seconds not paused since an earlier moment."""
        accepted = self.sent - past.sent - (self.refused - past.refused)
        return accepted, max(0.0, self.at_s - past.at_s - (self.idle_s - past.idle_s))


def is_exact(wait_s: float) -> bool:
    """Tell whether a wait was told to less than a second."""
    return abs(wait_s - round(wait_s)) > 1e-6


def was_shut(history: Sequence[Moment], rate: float, cost: float) -> bool:
    """Tell whether a limit was shut for longer than a bucket of a rate can be."""
    return any(
        rate * (one.shut_s - one.open_off_s - HEARD_S) > SHUT_CALLS * (one.cost or cost)
        for one in history
        if one.empty and one.opened_s is not None
    )


def side(history: Sequence[Moment], rate: float, cost: float) -> int:
    """Let a history happen to a bucket of ``rate`` that is full at its beginning.

    Returns 0 when a bucket of that rate can have done it, -1 when the rate is too low
    for that, 1 when it is too high: what fitted in at one time and what did not at
    another then contradict each other, and which of them came first tells the side.
    """
    slack = JITTER_S * rate + SLACK * cost
    content, held, room = 0.0, cost, math.inf
    held_at = room_at = 0
    last = history[0]
    for at, moment in enumerate(history):
        content = _content(content, last, moment, rate, cost)
        last = moment
        if content > held:
            held, held_at = content, at
        if not moment.empty:
            continue
        if content <= 0.0:
            return 1
        # Calls differ: only what that one would have taken is known not to have fitted in.
        full = content + (moment.cost or cost)
        if full < room:
            room, room_at = full, at
    if held <= room + slack:
        return 0
    return -1 if room_at < held_at else 1


def _content(content: float, last: Moment, moment: Moment, rate: float, cost: float) -> float:
    """Return what a bucket of ``rate`` holds at ``moment``, given what it held at ``last``."""
    accepted, running_s = moment.since(last)
    content = max(0.0, content - rate * (moment.idle_s - last.idle_s))
    content = max(0.0, content + accepted - rate * running_s)
    if accepted > 0:
        # Whatever drained before, the latest call has only had its own while to do so.
        gap_s = running_s * cost / accepted if moment.gap_s is None else moment.gap_s
        content = max(content, cost - rate * max(0.0, gap_s - JITTER_S))
    return content


def burst(history: Sequence[Moment], rate: float) -> float:
    """Return the largest burst on top of ``rate`` that was accepted, in units."""
    content = held = 0.0
    last: Moment | None = None
    for moment in history:
        if last is not None:
            accepted, running_s = moment.since(last)
            content = max(0.0, content - rate * (moment.idle_s - last.idle_s))
            content = max(0.0, content + accepted - rate * running_s)
            held = max(held, content)
        last = moment
    return held


def fit(history: Sequence[Moment], pace: float, cost: float) -> tuple[float, float] | None:
    """Return the lowest and the highest rate that fit, or ``None`` when none does.

    No rate above ``pace`` fits, because it failed.
    """
    within = _from_above(history, pace, cost) or _by_halving(history, pace, cost)
    if within is None:
        return None
    low, lowest, highest, high = within
    for _ in range(EDGE_STEPS):
        middle = 0.5 * (low + lowest)
        if side(history, math.exp(middle), cost) == 0:
            lowest = middle
        else:
            low = middle
        middle = 0.5 * (highest + high)
        if side(history, math.exp(middle), cost) == 0:
            highest = middle
        else:
            high = middle
    return math.exp(lowest), math.exp(highest)


Within = tuple[float, float, float, float]
"""Logarithms of rates: too low, the lowest and the highest found to fit, too high."""


def _from_above(history: Sequence[Moment], pace: float, cost: float) -> Within | None:
    """Look just below the pace that failed, step by step: strict limits fit nowhere else."""
    top = math.log(pace)
    for step in range(1, STEPS_ABOVE + 1):
        here = top - step * STEP_ABOVE
        if side(history, math.exp(here), cost) == 0:
            lowest = here
            while side(history, math.exp(lowest - STEP_ABOVE), cost) == 0 and lowest > top - 4.0:
                lowest -= STEP_ABOVE
            return lowest - STEP_ABOVE, lowest, here, here + STEP_ABOVE
    return None


def _by_halving(history: Sequence[Moment], pace: float, cost: float) -> Within | None:
    """Look everywhere below the pace that failed, led by the side that is wrong."""
    low, high = math.log(pace / SPAN), math.log(pace)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        where = side(history, math.exp(middle), cost)
        if where == 0:
            return low, middle, middle, high
        low, high = (middle, high) if where < 0 else (low, middle)
    return None
