"""A lane in virtual time: a pacer against a simulated limiter, thousands of runs a minute."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from headrace.limits import ONE_CALL, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket
from headrace.simulator.rules import Admitted, LaneRules, Refused
from headrace.simulator.terms import standing

Latency = Callable[[Random], float]


@dataclass
class Told:
    """What a run in virtual time came to; times in seconds."""

    done: int = 0
    refused: int = 0
    sent: int = 0
    end_s: float = 0.0
    refusals_s: list[float] = field(default_factory=list)
    accepts_s: list[float] = field(default_factory=list)
    in_flight_max: int = 0
    used: int = 0

    def rate(self, from_s: float, to_s: float) -> float:
        """Return accepted calls a second between two times."""
        return sum(from_s <= at < to_s for at in self.accepts_s) / max(1e-9, to_s - from_s)

    def refused_share(self, from_s: float = 0.0) -> float:
        """Return the share of calls refused after ``from_s``."""
        refused = sum(at >= from_s for at in self.refusals_s)
        accepted = sum(at >= from_s for at in self.accepts_s)
        return refused / max(1, refused + accepted)


@dataclass
class _Answer:
    result: Admitted | Refused
    limits: tuple[Limit, ...] = ()
    tokens: int | None = None


@dataclass
class LaneModel:
    """Sends ``items`` through a pacer to a limiter; retries what is refused.

    ``hint`` makes the wait that a refusal names (``None`` for none); ``late_s`` is how
    late our own timers and the network are, at most; ``lead_s`` how long before its
    moment a permit is handed out. ``used`` draws the tokens that a call really uses (all
    of its load by default); ``announces`` says when what is left is looked at for the headers
    of an answer: ``start`` or ``end`` of the call, or never; a lane that ``names`` its limits
    says which of them refused; ``tokens`` from and up to which each call takes, drawn anew.
    ``counts`` is how often the provider counts each token of the input that is estimated, and
    ``names_input`` what its answers name of it: as often, if not told otherwise.
    """

    rules: LaneRules
    quota: Quota
    latency: Latency
    items: int
    load: Load = ONE_CALL
    refusal_s: float = 0.03
    late_s: float = 0.001
    lead_s: float = 0.01
    hint: Callable[[Refused, float], float | None] = lambda refused, now_s: refused.wait_s
    seed: int = 0
    until_s: float = 36_000.0
    learned: Pacer | None = None
    used: Callable[[Random], int] | None = None
    announces: str = ""
    names: bool = False
    tokens: tuple[int, int] | None = None
    counts: float = 1.0
    names_input: float | None = None

    def run(self) -> Told:
        """Run until all is done, or until ``until_s``."""
        random, now_s, told = Random(self.seed), 0.0, Told()
        pacer = self.learned or Pacer(self.quota, 0.0)
        self.pacer = pacer
        events: list[tuple[float, int, Ticket, _Answer]] = []
        left, number = self.items, 0
        while told.done < self.items and now_s < self.until_s:
            wait_s = pacer.wait_s(self.load, now_s) if left else math.inf
            next_s = events[0][0] if events else math.inf
            if wait_s > self.lead_s:
                wake_s = now_s + wait_s - self.lead_s + random.uniform(0, self.late_s)
                if math.isinf(min(wake_s, next_s)):
                    raise AssertionError("the lane waits for nothing")
                if next_s <= wake_s:
                    now_s = next_s
                    _, _, ticket, answer = heapq.heappop(events)
                    left += self._end(pacer, ticket, answer, now_s, told)
                else:
                    now_s = wake_s
                continue
            ticket, load = pacer.send(self.load, now_s, wait_s), self.load
            if self.tokens is not None:
                self.load = Load(tokens=random.randint(*self.tokens))
            left, number, told.sent = left - 1, number + 1, told.sent + 1
            told.in_flight_max = max(told.in_flight_max, pacer.in_flight)
            leave_s = now_s + wait_s + random.uniform(0, self.late_s)
            pacer.left(ticket, leave_s)
            arrive_s = leave_s + 0.0005
            result = self.rules.admit(load.recounted(self.counts), max(arrive_s, self._last_s))
            self._last_s = max(arrive_s, self._last_s)
            took_s = self.refusal_s if isinstance(result, Refused) else self.latency(random)
            if isinstance(result, Refused):
                told.refusals_s.append(now_s)
            else:
                told.accepts_s.append(now_s)
            answer = _Answer(result, self._limits("start", self._last_s))
            if self.used is not None and isinstance(result, Admitted):
                answer.tokens = self.used(random)
            heapq.heappush(events, (now_s + wait_s + took_s, number, ticket, answer))
        told.end_s = now_s
        return told

    _last_s: float = 0.0

    def _limits(self, when: str, now_s: float) -> tuple[Limit, ...]:
        """Return what a truthful provider announces at this moment."""
        if when != self.announces:
            return ()
        found = []
        for rule in self.rules.rules:
            here = standing(rule.limiter, now_s)
            found.append(
                Limit(rule.dimension, here.amount, here.window_s, here.remaining, here.reset_s)
            )
        return tuple(found)

    def _end(self, pacer: Pacer, ticket: Ticket, answer: _Answer, now_s: float, told: Told) -> int:
        """Let a call end; returns how many items go back in line."""
        self._last_s = max(self._last_s, now_s)
        result = answer.result
        if isinstance(result, Refused):
            told.refused += 1
            wait_s = self.hint(result, now_s)
            said = Said(bucket=result.dimension) if self.names else None
            pacer.end(ticket, Outcome(OutcomeKind.RATE_LIMITED, wait_s=wait_s, said=said), now_s)
            return 1
        self.rules.finish(result, now_s, answer.tokens)
        told.done += 1
        named = self.counts if self.names_input is None else self.names_input
        said = Said(
            limits=answer.limits or self._limits("end", now_s),
            tokens=answer.tokens,
            tokens_in=round(named * ticket.load.tokens_in),
        )
        told.used += ticket.load.tokens if answer.tokens is None else answer.tokens
        pacer.end(ticket, Outcome(OutcomeKind.SUCCESS, said=said), now_s)
        return 0
