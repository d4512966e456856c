"""The controller of a lane: a pure state machine that hands out its quota, and learns it.

``wait_s`` says when the next call may be sent, ``send`` counts it, ``end`` hears how it
ended. Nothing here has a clock, chance or I/O: the same events at the same times give
the same decisions. Requests, tokens and images a second, calls in flight, shut lanes
and the circuit are held together: a call takes of all of them, or waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from headrace.announcing import Announcing
from headrace.circuit import Circuit
from headrace.inputs import Inputs
from headrace.knee import Width
from headrace.limits import DAY_S, RATES, WAIT_S_MAX, Dimension, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pace import RatePace
from headrace.phases import Mode
from headrace.refunds import Refunds
from headrace.refusal_credit import RefusalCredit
from headrace.suspicion import Suspicion

REACT_S = 1.0
"""Until a refusal has been seen, how long one may take to arrive."""
SHUTS_S = {OutcomeKind.QUOTA_EXHAUSTED: 3600.0, OutcomeKind.AUTH: 60.0}
"""How long a lane is shut for want of funds or of a good key, where nobody says; then one
call looks again."""
LONG_WAIT = "the provider asked for a long wait"
MOMENT_S = 1e-6
"""Waits shorter than this are none: no timer could keep them."""

_OVERLOAD = (
    OutcomeKind.OVERLOADED,
    OutcomeKind.TRANSIENT,
    OutcomeKind.TIMEOUT,
    OutcomeKind.UNKNOWN,
)
_REFUSED = (OutcomeKind.RATE_LIMITED, *SHUTS_S)


@dataclass(slots=True)
class Ticket:
    """A call under way, as the lane remembers it; ``left`` of the tokens at most, after it."""

    sent_s: float
    load: Load
    in_flight: int
    marks: tuple[tuple[Dimension, tuple[float, float]], ...]
    probe: bool = False
    place: tuple[int, int] = (0, 0)
    lead_s: float = 0.0
    left: float = math.inf


@dataclass(slots=True)
class Tally:
    """What a lane has done so far."""

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    bound: dict[str, int] = field(default_factory=dict)


def used_up(amount: float, name: str, window_s: float) -> str:
    """Return what people are told about a quota of which nothing is left."""
    return f"its {amount:g} {name} {'a day' if window_s >= DAY_S else 'an hour'} are used up"


def _amount(load: Load, dimension: Dimension) -> float:
    if dimension is Dimension.REQUESTS:
        return float(load.requests)
    return float(load.tokens if dimension is Dimension.TOKENS else load.images)


def takes_s(pacer: Pacer, load: Load) -> float:
    """Return for how long a call takes all of a lane; 0.0 where no rate is known to hold it."""
    return max(
        (
            # A lane may begin faster than it was told, for the burst that it has.
            _amount(load, dimension) / max(1e-9, min(rate.pace, rate.told or math.inf))
            for dimension, rate in pacer.rates.items()
        ),
        default=0.0,
    )


class Pacer(Announcing):
    """One lane. Times are seconds of any steady clock, never going back."""

    def __init__(self, quota: Quota, now_s: float) -> None:
        self.quota = quota
        self.rates: dict[Dimension, RatePace] = {}
        self.width = Width(float(quota.concurrency), untried=quota.advised)
        self.circuit = Circuit()
        self.refunds = Refunds(quota.tokens_refunded)
        self.inputs = Inputs()
        self.in_flight = 0
        self.credit = RefusalCredit()
        self.react_s = REACT_S
        self.shut_until_s = -math.inf
        self.shut_reason = ""
        self.shut_renews = False
        self.paused_until_s = -math.inf
        self.tally = Tally()
        self._held_by: str | None = None
        self.suspicion = Suspicion()
        self._start(quota, now_s)

    def _start(self, quota: Quota, now_s: float) -> None:
        if not quota.learns:
            self.width.pin(float(quota.concurrency))
            return
        for limit in quota.limits:
            self._tell(limit, now_s, quota.pinned)
        if quota.rate_start is not None and Dimension.REQUESTS not in self.rates:
            self._rate(Dimension.REQUESTS, now_s, quota.rate_start)

    # -- sending ---------------------------------------------------------------------------

    def wait_s(self, load: Load, now_s: float) -> float:
        """Return the seconds until a call may be sent: 0.0 now, ``inf`` until one has ended."""
        load = self._as_counted(load)
        held_s, by = max(self.shut_until_s, self.paused_until_s) - now_s, "shut"
        circuit_s = self.circuit.wait_s(now_s)
        if circuit_s > held_s:
            held_s, by = circuit_s, "circuit"
        if self.in_flight >= self.circuit.width(self.width.cap):
            held_s, by = math.inf, Dimension.CONCURRENCY.value
        for dimension, rate in self.rates.items():
            cost = _amount(load, dimension)
            if cost > 0:
                rate_s = rate.wait_s(cost, now_s)
                if rate_s > held_s:
                    held_s, by = rate_s, dimension.value
        if held_s < MOMENT_S:
            return 0.0
        self._held_by = by
        return held_s

    def shut_s(self, now_s: float) -> float:
        """Return for how many seconds the lane takes nothing at all: funds, key, a long wait."""
        held_s = max(self.shut_until_s, self.paused_until_s) - now_s
        for rate in self.rates.values():
            held_s = max(held_s, rate.paused_until_s - now_s, rate.spent_s(rate.mean, now_s))
        return max(0.0, held_s)

    def why_shut(self) -> str:
        """Return what people are told about a lane that stays shut."""
        for dimension, rate in self.rates.items():
            for quota in rate.longer:
                if quota.used + rate.mean > quota.amount:
                    return used_up(quota.amount, dimension.value, quota.window_s)
        return self.shut_reason or LONG_WAIT

    def send(self, load: Load, now_s: float, lead_s: float = 0.0) -> Ticket:
        """Count a call that is sent now, or in ``lead_s``; ask ``wait_s`` first."""
        now_s, load = now_s + lead_s, self._as_counted(load)
        by, self._held_by = self._held_by, None
        marks = []
        for dimension in RATES:
            cost = _amount(load, dimension)
            if cost > 0 and self.quota.learns:
                # Counted from the first call on: the first refusal asks what was accepted.
                rate = self._rate(dimension, now_s, None)
                marks.append((dimension, rate.take(cost, now_s, by == dimension.value)))
                rate.allowance = self.credit.left
                if rate.look(now_s):
                    self.credit.spend(0.5)
        self.in_flight += 1
        self.tally.sent += 1
        if by is not None:
            self.tally.bound[by] = self.tally.bound.get(by, 0) + 1
        capped = by == Dimension.CONCURRENCY.value
        if capped and self.credit.left >= 1.0 and self.width.may_probe:
            self.credit.spend(0.5)
            self.width.probe()
        return Ticket(
            now_s,
            load,
            self.in_flight,
            tuple(marks),
            self.circuit.sent(),
            self.width.send(self.in_flight),
            lead_s,
            self.refunds.take(float(load.tokens), now_s) if load.tokens else math.inf,
        )

    def _as_counted(self, load: Load) -> Load:
        """Return a load as the provider counts it, on a limit of tokens that somebody told.

        A rate that was learned is one of estimates.
        """
        if not load.tokens_in:
            return load
        rate = self.rates.get(Dimension.TOKENS)
        if rate is None or (rate.told is None and rate.told_before is None):
            return load
        return self.inputs.corrected(load)

    def left(self, ticket: Ticket, now_s: float) -> None:
        """Hear when a call really left: after one that is late, the next may not hurry."""
        taken_s, ticket.sent_s = ticket.sent_s, max(ticket.sent_s, now_s)
        ticket.marks = tuple(
            (
                one,
                (mark, self.rates[one].departed(_amount(ticket.load, one), taken_s, now_s, gap_s)),
            )
            for one, (mark, gap_s) in ticket.marks
        )

    def reopen(self, now_s: float) -> None:
        """Forget that the lane is shut: a person has looked at what shut it.

        What was pinned stays used up.
        """
        self.shut_until_s = self.paused_until_s = self.circuit.open_until_s = -math.inf
        for rate in self.rates.values():
            rate.reopen(now_s)
        self.shut_reason = ""

    # -- hearing ---------------------------------------------------------------------------

    def end(
        self, ticket: Ticket, outcome: Outcome | None, now_s: float, call_s: float | None = None
    ) -> None:
        """Hear how a call ended, after ``call_s``; ``None``: it was never sent, or says nothing."""
        self.in_flight -= 1
        if outcome is None or outcome.kind in _OVERLOAD or outcome.kind in _REFUSED:
            self.width.gone(ticket.place)
            self.refunds.untake(float(ticket.load.tokens), now_s)
        if outcome is None:
            self.circuit.ignored(ticket.probe)
            return
        if outcome.said is not None and self.quota.learns:
            self._use(ticket, outcome.said, now_s)
            self._announced(ticket, outcome.said, now_s)
        if outcome.kind in _REFUSED:
            self.circuit.ignored(ticket.probe)
            if outcome.kind is OutcomeKind.RATE_LIMITED:
                self._rate_limited(ticket, outcome, now_s)
            else:
                self._shut(outcome, now_s)
        elif outcome.kind in _OVERLOAD:
            self.tally.failed += 1
            self.circuit.failed(ticket.probe, now_s, self.in_flight, outcome.wait_s)
        else:
            self._accepted(ticket, now_s, call_s)

    def _rate_limited(self, ticket: Ticket, outcome: Outcome, now_s: float) -> None:
        self.tally.refused += 1
        self.width.untried = False
        if self.quota.learns:
            self._refused(ticket, outcome, now_s)
        elif outcome.wait_s is not None and outcome.wait_s > 0:
            until_s = now_s + min(outcome.wait_s, WAIT_S_MAX)
            self.paused_until_s = max(self.paused_until_s, until_s)

    def _shut(self, outcome: Outcome, now_s: float) -> None:
        wait_s = SHUTS_S[outcome.kind] if outcome.wait_s is None else outcome.wait_s
        until_s = now_s + min(wait_s, WAIT_S_MAX)
        self.circuit.shut(until_s)
        if until_s >= self.shut_until_s:
            self.shut_until_s, self.shut_renews = until_s, outcome.renews
            self.shut_reason = outcome.reason or outcome.kind.value

    def _accepted(self, ticket: Ticket, now_s: float, call_s: float | None) -> None:
        self.tally.accepted += 1
        told = any(rate.told is not None for rate in self.rates.values())
        self.credit.accepted(told=told)
        self.circuit.succeeded()
        self.width.accepted(ticket.in_flight)
        self.width.ended(ticket.place, now_s - ticket.sent_s if call_s is None else call_s)
        self.suspicion.accepted(ticket.in_flight)

    def _refused(self, ticket: Ticket, outcome: Outcome, now_s: float) -> None:
        said, wait_s = outcome.said, outcome.wait_s
        if wait_s is not None:
            wait_s = min(wait_s, WAIT_S_MAX) if wait_s > 0 else None
        bucket = said.bucket if said is not None else None
        self.react_s = min(5.0, max(2.0 * (now_s - ticket.sent_s), 0.05, self.react_s * 0.7))
        for known in self.rates.values():
            known.react_s = self.react_s
        if bucket is Dimension.CONCURRENCY:
            self.width.refused(max(1, ticket.in_flight - 1))
            self.credit.refused(1.0)
            return
        # Whoever counts calls in flight cannot know when the next will end.
        unexplained = bucket is None and wait_s is None
        if unexplained and self._is_width(ticket, now_s):
            self.credit.refused(1.0)
            return
        rate = self._blamed(bucket, ticket, now_s)
        taken = dict(ticket.marks).get(bucket or Dimension.REQUESTS, (rate.sent, math.inf))
        cost = _amount(ticket.load, bucket or Dimension.REQUESTS) or 1.0
        if cost > rate.told_amount:
            # No limit of that size ever lets it in: it says nothing of the rate.
            self.credit.refused(1.0)
            return
        held, learning = rate.mode is Mode.HOLD, rate.mode in (Mode.GROW, Mode.TRIAL)
        rate.allowance = self.credit.left - 0.5
        news = rate.refused(cost, taken, ticket.sent_s, now_s, wait_s)
        if news and held and bucket in (None, Dimension.TOKENS):
            # A rush that ends in a refusal tells nothing; at the told rate it may be our fault.
            self.refunds.refused(now_s)
            self.inputs.refused()
        price = 0.0 if rate.crossed or rate.stray else 0.5 if learning else 1.0
        self.credit.refused(price)

    def _blamed(self, bucket: Dimension | None, ticket: Ticket, now_s: float) -> RatePace:
        """Return the rate that a refusal is about, begun now if nothing was known of it."""
        dimension = bucket or Dimension.REQUESTS
        rate = self._rate(dimension, now_s, None)
        if rate.first_s is None:
            rate.take(_amount(ticket.load, dimension), ticket.sent_s, False)
        return rate

    def _is_width(self, ticket: Ticket, now_s: float) -> bool:
        """Tell whether an unexplained refusal is of more in flight than ever before."""
        if self.width.known:
            if self.width.probing and ticket.in_flight >= self.width.cap:
                self.width.refused(ticket.in_flight - 1)
                return True
            self.width.doubt(ticket.in_flight)
            return ticket.in_flight > self.width.cap
        if ticket.in_flight <= max(1, self.width.accepted_at):
            self.suspicion.clear()
            return False
        rate = self.rates.get(Dimension.REQUESTS)
        pace = math.inf if rate is None else rate.pace
        most = self.suspicion.refused(ticket.in_flight, ticket.sent_s, now_s, pace)
        if most is None:
            return False
        self.width.refused(max(1, most))
        if rate is not None:
            rate.forget(self.suspicion.pace_before * 2.0, now_s)
        return True

    def _use(self, ticket: Ticket, said: Said, now_s: float) -> None:
        """Give back what a call took of the tokens and did not use, where the provider does."""
        self.inputs.hear(ticket.load.tokens_in, said.tokens_in)
        rate = self.rates.get(Dimension.TOKENS)
        # What was sent while others could not be asked was never taken here.
        taken = any(dimension is Dimension.TOKENS for dimension, _ in ticket.marks)
        if said.tokens is None or rate is None or not taken:
            return
        cost = float(ticket.load.tokens)
        if (back := self.refunds.back(cost - said.tokens)) > 0:
            rate.give_back(cost, back, ticket.sent_s, now_s)
