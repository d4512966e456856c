"""Limits that are no rate: calls at a time, and a door that stays shut after a refusal."""

from __future__ import annotations

import math

from headrace.simulator.limiters import SLACK_S, Limiter


class Concurrency:
    """``amount`` calls at a time; ``give_back`` frees."""

    kind = "concurrency"
    __slots__ = ("_base", "_held", "amount")

    def __init__(self, amount: float) -> None:
        self._base = self.amount = amount
        self._held = 0.0

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return 0.0, or ``inf``: only the end of another call helps."""
        return 0.0 if self._held + cost <= self.amount else math.inf

    def take(self, cost: float, now_s: float) -> None:
        """Hold ``cost`` more."""
        self._held += cost

    def charge(self, cost: float, now_s: float) -> None:
        """Leave it: a refused call holds nothing."""

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Free what a call held."""
        self._held = max(0.0, self._held - cost)

    def refused(self, now_s: float) -> None:
        """Do not mind."""

    def remaining(self, now_s: float) -> float:
        """Return how many more could be held."""
        return max(0.0, self.amount - self._held)

    def reset_s(self, now_s: float) -> float:
        """Return 0.0: there is nothing that time alone restores."""
        return 0.0

    def rescale(self, factor: float, now_s: float) -> None:
        """Change the amount, to a whole number of 1 or more; what is held stays held."""
        self.amount = max(1.0, math.floor(self._base * factor))

    def copy(self) -> Concurrency:
        """Return an independent limit in the same state."""
        twin = Concurrency(self._base)
        twin.amount, twin._held = self.amount, self._held
        return twin


class PenaltyBox:
    """A limit that shuts for ``penalty_s`` when it has refused a call.

    Calls during the penalty are refused; with ``extends`` each of them starts it anew.
    """

    __slots__ = ("_shut_s", "extends", "inner", "kind", "penalty_s")

    def __init__(self, inner: Limiter, penalty_s: float, extends: bool = False) -> None:
        self.inner, self.penalty_s, self.extends = inner, penalty_s, extends
        self.kind = f"{inner.kind}+penalty"
        self._shut_s = -math.inf

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the longer of the penalty and what the limit inside asks for."""
        penalty_s = self._shut_s - now_s
        if penalty_s <= SLACK_S:
            return self.inner.wait_s(cost, now_s)
        return penalty_s + self.inner.wait_s(cost, self._shut_s)

    def take(self, cost: float, now_s: float) -> None:
        """Count an admitted call."""
        self.inner.take(cost, now_s)

    def charge(self, cost: float, now_s: float) -> None:
        """Count a refused call."""
        self.inner.charge(cost, now_s)

    def give_back(self, cost: float, now_s: float, taken_s: float | None = None) -> None:
        """Refund what was taken."""
        self.inner.give_back(cost, now_s, taken_s)

    def refused(self, now_s: float) -> None:
        """Shut for the penalty."""
        if self.extends or now_s >= self._shut_s - SLACK_S:
            self._shut_s = now_s + self.penalty_s

    def remaining(self, now_s: float) -> float:
        """Return what could be taken now: nothing while it is shut."""
        return 0.0 if now_s < self._shut_s - SLACK_S else self.inner.remaining(now_s)

    def reset_s(self, now_s: float) -> float:
        """Return the longer of the penalty and the time that the limit inside needs."""
        return max(self._shut_s - now_s, self.inner.reset_s(now_s))

    def rescale(self, factor: float, now_s: float) -> None:
        """Change the limit inside."""
        self.inner.rescale(factor, now_s)

    def copy(self) -> PenaltyBox:
        """Return an independent box in the same state."""
        twin = PenaltyBox(self.inner.copy(), self.penalty_s, self.extends)
        twin._shut_s = self._shut_s
        return twin
