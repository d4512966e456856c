"""What is left of a rate that others use too, and how to live on it.

Nobody tells what others take, and what they take varies: a refusal says that the limit was
empty, not that the pace was too high. From one refusal to the next the limit was empty twice,
so what was accepted between them is what was left. After a refusal the lane rests until some
calls fit in again, begins just below what is left on average, and goes faster with every call
that is not refused: so the share of refusals stays what it is, whoever else there is.
"""

from __future__ import annotations

from dataclasses import dataclass

BELOW = 0.03
"""By this part of what is left the pace begins below it."""
RISE, RISE_CALLS = 0.06, 100.0
"""It rises by this part in so many calls, and faster the longer nothing is refused."""
MEMORY_CALLS = 400.0
"""On so many calls the mean rests, at most."""
LONG_CALLS = 150
"""After so many without a refusal the limit ran over meanwhile: the pace says what was left."""
REST_CALLS, REST_MIN, REST_MAX, REST_STEP = 5.0, 3.0, 40.0, 1.15
"""The rest after a refusal, in calls; a step longer or shorter when the next one comes soon
or late."""
SOON_CALLS = 30


@dataclass(slots=True)
class Share:
    """What others leave of a rate: ``left`` units a second, known from ``known`` units.

    ``rest`` is how many calls' worth of it come in after a refusal before the next call.
    """

    left: float = 0.0
    known: float = 0.0
    rest: float = REST_CALLS

    def refused(self, accepted: float, took_s: float, pace: float, calls: int, mean: float) -> None:
        """Hear of a refusal, ``calls`` after the one before, at ``pace``.

        ``accepted`` units of calls of ``mean`` were let in since, in ``took_s``.
        """
        if calls < SOON_CALLS:
            self.rest = min(REST_MAX, self.rest * REST_STEP)
        elif calls > 3 * SOON_CALLS:
            self.rest = max(REST_MIN, self.rest / REST_STEP)
        if calls > LONG_CALLS:
            accepted = max(accepted, (1.0 - BELOW) * pace * took_s)
        if accepted <= 0.0 or took_s <= 0.0:
            return
        before_s = self.known / self.left if self.left > 0.0 else 0.0
        self.left = (self.known + accepted) / (before_s + took_s)
        self.known = min(self.known + accepted, MEMORY_CALLS * mean)

    def pace(self, calls: int) -> float:
        """Return the pace after so many calls that were not refused, in units a second."""
        far = calls / RISE_CALLS
        return self.left * (1.0 - BELOW + RISE * far * (1.0 + 0.5 * far))
