"""A pacer driven in virtual time against any limit: answers and headers as a test has them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.limits import ONE_CALL, Dimension, Limit, Load, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket
from headrace.simulator.limiters import Limiter

LATE_S, LEAD_S, REFUSAL_S, CALL_S = 0.0007, 0.01, 0.03, 0.3


@dataclass(frozen=True)
class Asked:
    """What becomes of a call: refused with a wait, or without one; ``bucket`` refused it."""

    refused: bool = False
    wait_s: float | None = None
    said: Said | None = None


Ask = Callable[[Load, float], Asked]
Says = Callable[[float], tuple[Limit, ...]]


@dataclass
class Run:
    """When calls were accepted and refused, in seconds."""

    accepts_s: list[float] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)

    def rate(self, from_s: float, until_s: float) -> float:
        """Return accepted calls a second between two times."""
        return sum(from_s <= at_s < until_s for at_s in self.accepts_s) / (until_s - from_s)

    def accepted(self, from_s: float = 0.0) -> int:
        """Return how many were accepted since."""
        return sum(at_s >= from_s for at_s in self.accepts_s)

    def refused(self, from_s: float = 0.0) -> int:
        """Return how many were refused since."""
        return sum(at_s >= from_s for at_s in self.refusals_s)


def limited(limiter: Limiter, hint: Callable[[float], float | None]) -> Ask:
    """Return who lets calls in by a limit, and tells a wait made of the true one."""

    def ask(load: Load, now_s: float) -> Asked:
        wait_s = limiter.wait_s(load.requests, now_s)
        if wait_s > 0:
            return Asked(refused=True, wait_s=hint(wait_s))
        limiter.take(load.requests, now_s)
        return Asked()

    return ask


def nobody(now_s: float) -> tuple[Limit, ...]:
    """Announce nothing."""
    return ()


def drive(pacer: Pacer, ask: Ask, until_s: float, now_s: float = 0.0, says: Says = nobody) -> Run:
    """Send calls as fast as the pacer lets them, from ``now_s`` until ``until_s``."""
    run, number = Run(), 0
    events: list[tuple[float, int, Ticket, Outcome]] = []
    while now_s < until_s or events:
        wait_s = pacer.wait_s(ONE_CALL, now_s) if now_s < until_s else math.inf
        if wait_s > LEAD_S:
            wake_s = now_s + wait_s - LEAD_S + LATE_S
            if events and events[0][0] <= wake_s:
                now_s, _, ticket, outcome = heapq.heappop(events)
                pacer.end(ticket, outcome, now_s)
            else:
                now_s = min(wake_s, until_s)
            continue
        ticket, number = pacer.send(ONE_CALL, now_s, wait_s), number + 1
        sent_s = now_s + wait_s + LATE_S
        pacer.left(ticket, sent_s)
        outcome, took_s = _outcome(ask(ONE_CALL, sent_s), says(sent_s))
        (run.accepts_s if outcome.kind is OutcomeKind.SUCCESS else run.refusals_s).append(sent_s)
        heapq.heappush(events, (sent_s + took_s, number, ticket, outcome))
    return run


def _outcome(asked: Asked, limits: tuple[Limit, ...]) -> tuple[Outcome, float]:
    said = asked.said or (Said(limits=limits) if limits else None)
    if asked.refused:
        return Outcome(OutcomeKind.RATE_LIMITED, wait_s=asked.wait_s, said=said), REFUSAL_S
    return Outcome(OutcomeKind.SUCCESS, said=said), CALL_S


def announced(limiter: Limiter, amount: Callable[[float], float], window_s: float) -> Says:
    """Return headers that state a limit of so many a window, and what is left of it."""

    def says(now_s: float) -> tuple[Limit, ...]:
        left = max(0.0, math.floor(limiter.remaining(now_s)))
        return (Limit(Dimension.REQUESTS, amount(now_s), window_s, left),)

    return says
