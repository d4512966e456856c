"""The canary: the first items of a batch run alone, and what was seen decides about the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.pause import Pause, PauseCode
from headrace.price import cost_words, usd


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a canary; rows that could not be read do not count.

    ``ended`` items have a final state or wait for a person, ``shut`` ones wait for a key,
    funds or a quota of which nobody says when it renews; the rest of ``items`` is under way,
    or waits for a time that is named, and is seen after it. ``calls`` and
    ``refusals`` (for rate or load) count attempts, ``latency_p50_ms`` is that of the
    successful ones; ``calls_untold`` have neither a cost nor an estimate. ``error`` is the
    first one in row order, a rejected key before all, then a fatal one. ``moved`` of those
    that were made were not by the first model of their stage; ``moved_why`` is one reason.
    """

    items: int
    ended: int
    shut: int
    succeeded: int
    cached: int
    fatal: int
    calls: int
    refusals: int
    calls_untold: int
    cost_microusd: int
    latency_p50_ms: int | None
    error: dict[str, Any] | None = None
    moved: int = 0
    moved_why: str | None = None
    cost_estimate_microusd: int = 0

    @property
    def bad(self) -> int:
        """Return how many ended without a result, or cannot go on."""
        return self.ended + self.shut - self.succeeded

    @property
    def bought(self) -> int:
        """Return how many results were made, cached ones apart."""
        return self.succeeded - self.cached

    @property
    def cost_each_microusd(self) -> int | None:
        """Return the cost of a result that had to be made; ``None`` while that is unknown."""
        if self.bought <= 0 or self.calls_untold:
            return None
        return round((self.cost_microusd + self.cost_estimate_microusd) / self.bought)

    def counts(self) -> str:
        """Return what became of the items, for people."""
        cached = f", {self.cached} of them from cache" if self.cached else ""
        return f"{self.succeeded} of {self.items} succeeded{cached}"

    def lines(self, open_items: int, spent_microusd: int) -> list[str]:
        """Return for people what was seen, and a quote for the whole batch made from it."""
        told = [f"canary: {self.counts()}, {self.bad} did not"]
        cost = cost_words(self.cost_microusd, self.cost_estimate_microusd, self.calls_untold)
        seen = [f"cost {cost}"]
        each = self.cost_each_microusd
        if each is not None:
            about = "about " if self.cost_estimate_microusd else ""
            seen.append(f"{about}{usd(each)} each")
        if self.latency_p50_ms is not None:
            seen.append(f"half of the calls took {self.latency_p50_ms / 1000:.1f} s or less")
        seen.append(f"{self.refusals} of {self.calls} calls refused for rate or load")
        told.append("  " + " · ".join(seen))
        if self.moved:
            told.append(f"  {self.moved} not made by the first model: {self.moved_why}")
        if each is not None:
            whole = spent_microusd + open_items * each
            told.append(f"  quote: about {usd(whole)} for the whole batch, if none is cached")
        return told


def verdict(seen: Seen, look_first: bool) -> Pause | None:
    """Return why the batch is to pause after its canary, ``None`` to let all of it run.

    To be asked when nothing of the canary is under way any more (``is_over``).
    """
    error = seen.error or {}
    first = f"; the first: {error['reason']}" if error.get("reason") else ""
    remedy = str(error.get("remedy") or "")
    if seen.fatal:
        code = PauseCode(str(error["code"]))
        word = "rejects the key" if code is PauseCode.AUTH else "has no funds or quota left"
        reason = f"the provider {word}: {seen.fatal} of {seen.items} canary items met it{first}"
        return Pause(code, reason, remedy)
    if 2 * seen.bad > seen.items:
        return Pause(
            PauseCode.CANARY,
            f"{seen.bad} of {seen.items} canary items did not succeed{first}",
            remedy,
        )
    if look_first:
        return Pause(PauseCode.LOOK_FIRST, f"look first: {seen.counts()}")
    return None


def is_over(seen: Seen) -> bool:
    """Tell whether nothing of the canary is under way any more."""
    return seen.ended + seen.shut >= seen.items
