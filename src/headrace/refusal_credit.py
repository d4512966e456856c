"""How many refusals a lane may still afford: what its looks above the limit are paid from."""

from __future__ import annotations

from dataclasses import dataclass

START, MOST, LEAST = 4.0, 6.0, -50.0
EACH = 0.004
"""What an accepted call adds: the bound of the share of refusals."""
EACH_TOLD = 0.001
QUIET_CALLS, FORGIVEN, EACH_FORGIVEN = 200, -1.0, 0.05
"""After so many calls without a refusal a debt deeper than that is paid back so much faster: it is
of times that are over, and a lane that was led down by others would stay there for hours."""


@dataclass(slots=True)
class RefusalCredit:
    """Refusals that may still be afforded; ``quiet`` calls were accepted since the latest one."""

    left: float = START
    quiet: int = 0

    def accepted(self, *, told: bool) -> None:
        """Hear of an accepted call, of a lane whose limit somebody ``told`` or not."""
        self.quiet += 1
        each = EACH_TOLD if told else EACH
        if self.quiet >= QUIET_CALLS and self.left < FORGIVEN:
            each = EACH_FORGIVEN
        self.left = min(MOST, self.left + each)

    def refused(self, price: float) -> None:
        """Hear of a refusal, and what it costs."""
        self.quiet = 0
        self.left = max(LEAST, self.left - price)

    def spend(self, price: float) -> None:
        """Pay for a look."""
        self.left -= price
