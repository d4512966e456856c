"""How a provider counts the input of calls, which is estimated at four bytes a token.

Estimates are off by what a language, a tokenizer and the frame of a message add or save. On a
limit of tokens that was told, each per cent of that is a per cent of the limit: unused, or
refused. Answers name what their input was counted as; so what calls take is corrected by it.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.limits import Load
from headrace.refunds import SHARE_LESS, SHARE_MORE

HEARD_MIN, HEARD_MAX = 5, 100
"""Answers before a correction is made, and about how many of them it rests on."""
LEAST, MOST = 0.1, 10.0
"""The correction of an estimate lies between: beyond, an answer means something else."""


@dataclass(slots=True)
class Inputs:
    """The inputs of a lane: tokens ``estimated`` and those ``counted``, the latest weigh most.

    ``share`` is the part of a saving that is believed, less after refusals, for a limit may
    count what is asked and not what an answer names; what calls take more always is.
    """

    estimated: float = 0.0
    counted: float = 0.0
    heard: int = 0
    share: float = 1.0

    @property
    def factor(self) -> float:
        """What an estimate is multiplied by."""
        if self.heard < HEARD_MIN:
            return 1.0
        found = min(MOST, max(LEAST, self.counted / self.estimated))
        return found if found >= 1.0 else 1.0 - self.share * (1.0 - found)

    def corrected(self, load: Load) -> Load:
        """Return a load with its input as the provider counts it."""
        return load.recounted(self.factor)

    def hear(self, estimated: int, counted: int) -> None:
        """Hear what the input of an accepted call was counted as; 0: nobody said."""
        if estimated <= 0 or counted <= 0:
            return
        kept = 1.0 - 1.0 / HEARD_MAX
        self.estimated = kept * self.estimated + estimated
        self.counted = kept * self.counted + counted
        self.heard += 1
        self.share = min(1.0, self.share + SHARE_MORE)

    def refused(self) -> None:
        """Hear that a call was refused for its tokens: less may have been taken than it takes."""
        self.share *= SHARE_LESS
