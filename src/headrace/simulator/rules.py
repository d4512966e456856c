"""The rules of one lane: several limits at once, all or none, and what others do meanwhile."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.limits import ONE_CALL, Dimension, Load
from headrace.simulator.limiters import Limiter

_PLACES = {
    Dimension.REQUESTS: 0,
    Dimension.TOKENS: 1,
    Dimension.IMAGES: 2,
    Dimension.CONCURRENCY: 3,
}
_LOOK_AGAIN_S = 0.05
"""How soon another tenant tries again when only the end of a call can let it in."""
_WORD = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that was let in at ``at_s``; hand it to ``LaneRules.finish`` once."""

    load: Load
    at_s: float
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that was not let in: by which limit, and the wait after which it would be.

    Of several limits that refuse it is the one with the longest wait; ``wait_s`` is
    ``inf`` when only another call's end helps, or nothing (the call is too large).
    ``number`` is its place among the lane's rules.
    """

    dimension: Dimension
    kind: str
    wait_s: float
    number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit of a lane, and what it counts."""

    dimension: Dimension
    limiter: Limiter


@dataclass(frozen=True, slots=True)
class Change:
    """From ``at_s`` to ``until_s`` the limits are ``factor`` times what they were made with.

    It concerns one dimension, or all of them when that is ``None``. Spans of changes to
    the same dimension must not overlap.
    """

    at_s: float
    factor: float
    until_s: float = math.inf
    dimension: Dimension | None = None


@dataclass(frozen=True, slots=True)
class OtherTenant:
    """Somebody else who uses the same key: ``rate`` calls a second at random moments.

    Each takes ``load`` (and a place among the calls in flight for ``holds_s``) when
    that is admissible. When it is not, a tenant that ``insists`` gets in the moment it
    is, before anybody else, so that it has its share; one that does not goes away. Its
    moments follow from ``seed`` alone.
    """

    rate: float
    load: Load = ONE_CALL
    holds_s: float = 0.0
    seed: int = 0
    from_s: float = 0.0
    until_s: float = math.inf
    insists: bool = True


class LaneRules:
    """All limits of a lane. Times handed in must not go back.

    With ``refunds``, tokens reserved but not used go back when a call finishes; with
    ``refused_costs``, a refused call counts as a request nevertheless.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        refunds: bool = False,
        refused_costs: bool = False,
        changes: Iterable[Change] = (),
        other: OtherTenant | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.refunds, self.refused_costs = refunds, refused_costs
        self.other = other
        self.other_admitted = self.other_refused = 0
        self._limits = [(_PLACES[rule.dimension], rule.limiter) for rule in self.rules]
        self._turns = deque(_turns(changes))
        self._arrivals = 0
        self._arrival_s = math.inf if other is None else self._next_arrival_s(other.from_s)
        self._others: deque[Admitted] = deque()
        self._insisting, self._insist_s = 0, math.inf
        self.next_event_s = -math.inf
        self._set_next_event()

    def admit(self, load: Load, now_s: float, *, holds: bool = True) -> Admitted | Refused:
        """Take ``load`` of every limit, or of none and say which one refuses.

        A job that goes into a queue ``holds`` no place among the calls in flight.
        """
        if now_s >= self.next_event_s:
            self.advance(now_s)
        return self._admit(load, now_s, holds)

    def wait_s(self, load: Load, now_s: float) -> float:
        """Return how long ``load`` would have to wait, changing nothing but the time."""
        if now_s >= self.next_event_s:
            self.advance(now_s)
        costs = (load.requests, load.tokens, load.images, 1)
        return max(
            (limit.wait_s(costs[place], now_s) for place, limit in self._limits if costs[place]),
            default=0.0,
        )

    def finish(self, admitted: Admitted, now_s: float, tokens_used: int | None = None) -> None:
        """Free the call's place in flight, and refund tokens it did not use."""
        if now_s >= self.next_event_s:
            self.advance(now_s)
        self._finish(admitted, now_s, tokens_used)

    def advance(self, now_s: float) -> None:
        """Let everything happen that others and the schedule do until ``now_s``, in order.

        ``next_event_s`` is when the next such thing happens.
        """
        while self.next_event_s <= now_s:
            at_s = self.next_event_s
            if self._turns and self._turns[0][0] <= at_s:
                self._turn(self._turns.popleft())
            elif self._others and self._freed_s() <= at_s:
                self._finish(self._others.popleft(), at_s)
            elif self._insist_s <= at_s:
                self._insist(at_s)
            else:
                self._arrive(at_s)
            self._set_next_event()

    def of(self, dimension: Dimension) -> list[Limiter]:
        """Return the limits of one dimension, in their order."""
        return [rule.limiter for rule in self.rules if rule.dimension is dimension]

    def copy(self) -> LaneRules:
        """Return independent rules in the same state, which will see the same others."""
        twin = LaneRules.__new__(LaneRules)
        twin.__dict__.update(self.__dict__)
        twin.rules = tuple(Rule(one.dimension, one.limiter.copy()) for one in self.rules)
        twin._limits = [(_PLACES[one.dimension], one.limiter) for one in twin.rules]
        twin._turns, twin._others = self._turns.copy(), self._others.copy()
        return twin

    def _admit(self, load: Load, now_s: float, holds: bool = True) -> Admitted | Refused:
        costs = (load.requests, load.tokens, load.images, int(holds))
        worst_s, by = 0.0, -1
        for number, (place, limiter) in enumerate(self._limits):
            cost = costs[place]
            if cost:
                wait_s = limiter.wait_s(cost, now_s)
                if wait_s > worst_s:
                    worst_s, by = wait_s, number
        if by < 0:
            for place, limiter in self._limits:
                if costs[place]:
                    limiter.take(costs[place], now_s)
            return Admitted(load, now_s, holds)
        return self._refuse(load, now_s, by)

    def _finish(self, admitted: Admitted, now_s: float, tokens_used: int | None = None) -> None:
        unused = 0 if tokens_used is None else admitted.load.tokens - tokens_used
        for place, limiter in self._limits:
            if place == 3:
                limiter.give_back(int(admitted.holds), now_s, admitted.at_s)
            elif place == 1 and self.refunds and unused > 0:
                limiter.give_back(unused, now_s, admitted.at_s)

    def _refuse(self, load: Load, now_s: float, by: int) -> Refused:
        if self.refused_costs:
            for place, limiter in self._limits:
                if place == 0:
                    limiter.charge(load.requests, now_s)
        rule = self.rules[by]
        rule.limiter.refused(now_s)
        cost = (load.requests, load.tokens, load.images, 1)[_PLACES[rule.dimension]]
        return Refused(rule.dimension, rule.limiter.kind, rule.limiter.wait_s(cost, now_s), by)

    def _turn(self, turn: tuple[float, int, float, Dimension | None]) -> None:
        at_s, _, factor, dimension = turn
        for rule in self.rules:
            if dimension is None or rule.dimension is dimension:
                rule.limiter.rescale(factor, at_s)

    def _arrive(self, at_s: float) -> None:
        other = self.other
        assert other is not None
        if other.insists:
            self._insisting += 1
            self._insist_s = min(self._insist_s, at_s)
        elif not self._let_other_in(at_s):
            self.other_refused += 1
        self._arrival_s = self._next_arrival_s(at_s)

    def _insist(self, at_s: float) -> None:
        """Let a waiting call of the other tenant in, or see when it is worth another look."""
        other = self.other
        assert other is not None
        if self._let_other_in(at_s):
            self._insisting -= 1
            self._insist_s = at_s if self._insisting else math.inf
            return
        costs = (other.load.requests, other.load.tokens, other.load.images, 1)
        waits = (one.wait_s(costs[place], at_s) for place, one in self._limits if costs[place])
        self._insist_s = at_s + min(max(waits), _LOOK_AGAIN_S)

    def _let_other_in(self, at_s: float) -> bool:
        other = self.other
        assert other is not None
        costs = (other.load.requests, other.load.tokens, other.load.images, 1)
        if any(one.wait_s(costs[place], at_s) for place, one in self._limits if costs[place]):
            return False
        answer = self._admit(other.load, at_s)
        assert isinstance(answer, Admitted)
        self.other_admitted += 1
        self._others.append(answer)
        return True

    def _next_arrival_s(self, after_s: float) -> float:
        other = self.other
        assert other is not None
        self._arrivals += 1
        at_s = after_s - math.log(chance(other.seed, self._arrivals)) / other.rate
        return at_s if at_s < other.until_s else math.inf

    def _freed_s(self) -> float:
        assert self.other is not None
        return self._others[0].at_s + self.other.holds_s

    def _set_next_event(self) -> None:
        turn_s = self._turns[0][0] if self._turns else math.inf
        freed_s = self._freed_s() if self._others else math.inf
        self.next_event_s = min(turn_s, freed_s, self._insist_s, self._arrival_s)


def _turns(changes: Iterable[Change]) -> list[tuple[float, int, float, Dimension | None]]:
    """Return both ends of each change in order; at one moment an end comes before a beginning."""
    both: list[tuple[float, int, float, Dimension | None]] = []
    for change in changes:
        both.append((change.at_s, 1, change.factor, change.dimension))
        if change.until_s < math.inf:
            both.append((change.until_s, 0, 1.0, change.dimension))
    return sorted(both, key=lambda turn: turn[:2])


def chance(seed: int, number: int) -> float:
    """Return a number in (0, 1] that follows from both (splitmix64): no state to copy."""
    word = (seed * 0x2545F4914F6CDD1D + number * 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return ((word ^ (word >> 31)) + 1) / (_WORD + 1)
