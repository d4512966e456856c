"""Retry waits: exponential with full jitter, the provider's own wait winning, both clamped."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently an attempt is repeated.

    ``attempts_max`` counts the first try. Waits are in seconds; full jitter draws each
    wait evenly between zero and the exponential bound (Amazon's "full jitter"), so the
    bound of try *n* is ``min(wait_max_s, wait_base_s * 2**(n-1))``. A wait that the
    provider names is honoured up to ``provider_wait_max_s``. Long waits for a rate or a quota
    are no retries and do not come here: the item is parked (``settlement.decision_of``).
    """

    attempts_max: int = 5
    wait_base_s: float = 2.0
    wait_max_s: float = 32.0
    provider_wait_max_s: float = 86_400.0

    def allows(self, tries: int) -> bool:
        """Tell whether another try may follow after ``tries`` of them."""
        return tries < self.attempts_max

    def wait_s(self, tries: int, provider_wait_s: float | None, random: Random) -> float:
        """Return the seconds to wait after ``tries`` tries (1 or more)."""
        bound_s = min(self.wait_max_s, self.wait_base_s * 2.0 ** min(max(tries, 1) - 1, 30))
        if provider_wait_s is None or provider_wait_s != provider_wait_s:
            return random.uniform(0.0, bound_s)
        told_s = min(max(provider_wait_s, 0.0), self.provider_wait_max_s)
        # A little jitter on top keeps a crowd that was told the same second apart.
        return told_s + random.uniform(0.0, min(1.0, 0.1 * told_s + 0.05))


@dataclass(slots=True)
class RetryBudget:
    """Bounds how much of what a provider gets are retries: a share of the first tries.

    Beyond the budget a retry is not refused but delayed, by ``RetryPolicy.wait_max_s``:
    a provider in trouble is not kept there by everybody trying again at once.
    """

    share: float = 0.1
    most: float = 20.0
    left: float = 20.0

    def first_try(self) -> None:
        """Count a first try: it earns its share of a retry."""
        self.left = min(self.most, self.left + self.share)

    def spend(self) -> bool:
        """Take a retry out of the budget; ``False`` when there is none, so that it waits."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True
