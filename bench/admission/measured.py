"""From the simulator's truth to figures: pure arithmetic, no I/O."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.admission.job import Told
from headrace.limits import Dimension
from headrace.simulator.limiters import FixedWindow, SlidingLog
from headrace.simulator.rules import LaneRules
from headrace.simulator.settings import Settings
from headrace.simulator.terms import lane_rules
from headrace.simulator.truth import Entry

GOODPUT_S, GOODPUT_SPANS = 10.0, 3
GOOD = 0.95
"""The goodput is back from when on so much of the rate comes in each of so many spans."""


@dataclass
class Span:
    """A run, or what of it came after learning. ``ideal_s`` and ``achieved_s`` as measured.

    ``filled`` is set where windows are counted instead: how full they were.
    """

    ideal_s: float | None = None
    achieved_s: float | None = None
    requests: int = 0
    refused: int = 0
    filled: float | None = None

    @property
    def utilisation(self) -> float | None:
        """The ideal makespan by the achieved one, 1 at most; ``None`` where there is none."""
        if self.filled is not None:
            return min(1.0, self.filled)
        if not self.ideal_s or not self.achieved_s or self.achieved_s <= 0:
            return None
        return min(1.0, self.ideal_s / self.achieved_s)

    @property
    def refused_share(self) -> float:
        """How many of all requests were refused."""
        return self.refused / self.requests if self.requests else 0.0


@dataclass
class Outage:
    """What an outage did.

    ``amplification``: all requests of the run that reached the provider, whatever it
    answered, by the items delivered, each once; ``peak``: the most requests in any minute by
    what the healthy lane takes in one; ``during``: requests while nothing was answered;
    ``recovery_s``: from its end until the goodput was back for good (``None``: never).
    """

    amplification: float | None = None
    peak: float | None = None
    during: int = 0
    recovery_s: float | None = None


@dataclass
class Measured:
    """One client in one scenario."""

    scenario: str
    client: str
    situation: str
    items: int
    delivered: int = 0
    paid_twice: int = 0
    whole: Span = field(default_factory=Span)
    after: Span = field(default_factory=Span)
    told: Told = field(default_factory=Told)
    items_per_s: float | None = None
    outage: Outage | None = None
    in_flight_max: int = 0
    refused_by: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def success_share(self) -> float:
        """The share of items whose result reached the client."""
        return self.delivered / self.items if self.items else 0.0

    @property
    def cpu_ms(self) -> float | None:
        """CPU of the client in milliseconds per delivered item (seconds per thousand)."""
        known = self.delivered and self.told.cpu_s
        return self.told.cpu_s / self.delivered * 1000 if known else None

    @property
    def cpu_all_ms(self) -> float | None:
        """The same with the database's processes."""
        both_s = self.told.cpu_s + self.told.database_cpu_s
        return both_s / self.delivered * 1000 if self.delivered and both_s else None


def refused_since(entries: Iterable[Entry], after_s: float) -> tuple[int, int]:
    """Return how many requests came at ``after_s`` or later, and how many were refused."""
    late = [one.verdict for one in entries if one.arrived_s >= after_s]
    return len(late), late.count("refused")


def windows_filled(entries: Iterable[Entry], settings: Settings, after_s: float) -> float | None:
    """Return how full the whole windows from ``after_s`` on were, for a limit that counts so.

    A client that knew all would empty the last window at its beginning, which makes the
    ratio of two makespans a matter of where in a window the work happens to end; so whole
    windows are compared, less what another user of the key took. ``None`` where the lane
    is not one such limit alone, or where it changes.
    """
    lane = lane_rules(settings)
    if len(lane.rules) != 1 or settings.changes:
        return None
    rule = lane.rules[0]
    limiter = rule.limiter
    if not isinstance(limiter, FixedWindow | SlidingLog):
        return None
    offset_s = limiter.offset_s if isinstance(limiter, FixedWindow) else after_s
    window_s = limiter.window_s
    let_in = sorted(
        (one.arrived_s, getattr(one, rule.dimension.value))
        for one in entries
        if one.verdict == "admitted"
    )
    from_s = offset_s + math.ceil((after_s - offset_s) / window_s - 1e-9) * window_s
    count = math.floor((let_in[-1][0] - from_s) / window_s) if let_in else 0
    if count < 1:
        return None
    until_s = from_s + count * window_s
    taken = sum(cost for at_s, cost in let_in if from_s <= at_s < until_s)
    others = _taken_by_other(lane, from_s, until_s, rule.dimension)
    return float(taken / (count * limiter.amount - others))


def _taken_by_other(lane: LaneRules, from_s: float, until_s: float, dimension: Dimension) -> float:
    """Return what another user, who always gets his share, took between two moments."""
    if lane.other is None:
        return 0.0
    lane.advance(from_s)
    before = lane.other_admitted
    lane.advance(until_s)
    return float((lane.other_admitted - before) * getattr(lane.other.load, dimension.value))


def items_delivered(entries: Iterable[Entry]) -> int:
    """Return how many different calls reached their client with a result."""
    return len({one.key for one in entries if one.delivered})


def pace_per_s(entries: Iterable[Entry], after_s: float) -> float | None:
    """Return the results a second from ``after_s`` on."""
    ends = sorted(one.ended_s for one in entries if one.delivered and one.ended_s >= after_s)
    return len(ends) / (ends[-1] - after_s) if ends and ends[-1] > after_s else None


def outage_figures(entries: list[Entry], from_s: float, until_s: float, rate: float) -> Outage:
    """Return what an outage between two moments did, where a healthy lane takes ``rate``."""
    arrivals = sorted(one.arrived_s for one in entries)
    minute = max(
        (bisect_left(arrivals, at_s + 60.0) - number for number, at_s in enumerate(arrivals)),
        default=0,
    )
    items = items_delivered(entries)
    return Outage(
        len(entries) / items if items else None,
        minute / (60.0 * rate),
        bisect_left(arrivals, until_s) - bisect_left(arrivals, from_s),
        _recovery_s(sorted(one.ended_s for one in entries if one.delivered), until_s, GOOD * rate),
    )


def _recovery_s(ends: list[float], until_s: float, good: float) -> float | None:
    """Return how long after ``until_s`` results came at ``good`` a second, and went on to.

    Three spans are looked at, one after another: a lane that is fast for one of them and
    falls back has not recovered. Of a run that ends before, what there is of them counts.
    """
    if not ends:
        return None
    for step in range(math.floor(ends[-1] - GOODPUT_S - until_s) + 1):
        begins_s = [until_s + step + number * GOODPUT_S for number in range(GOODPUT_SPANS)]
        spans = [
            bisect_left(ends, at_s + GOODPUT_S) - bisect_left(ends, at_s)
            for at_s in begins_s
            if at_s + GOODPUT_S <= ends[-1]
        ]
        if min(spans) >= good * GOODPUT_S:
            return float(step)
    return None
