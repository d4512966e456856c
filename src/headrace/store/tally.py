"""Counts the rows of a batch while they are written, and how much is set aside for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """The good and bad rows so far; ``reserve_microcredits`` is the dearest good row's price."""

    canary: int
    reserve_microcredits: int
    good: int = 0
    bad: int = 0
    canary_end: int = 0

    def accept(self, idx: int, reserve_microcredits: int) -> None:
        """Count a row that can be used; the canary ends behind so many of them."""
        self.good += 1
        self.reserve_microcredits = max(self.reserve_microcredits, reserve_microcredits)
        if self.good <= self.canary:
            self.canary_end = idx + 1

    def canary_of(self, items_min: int, look_first: bool) -> int:
        """Return where the canary ends, 0 for none: it has to leave something to be saved."""
        too_few = self.good + self.bad < items_min or self.good <= self.canary
        return 0 if too_few and not look_first else self.canary_end
