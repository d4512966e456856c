"""How a call on demand ends: its results, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.errors import HeadraceError
from headrace.generation import Generated, GenerationError
from headrace.openai_answers import CODES, STATUS_ELSE, STATUSES

CACHE = "X-Headrace-Cache"
MISS = {CACHE: "miss"}


class EndedError(HeadraceError):
    """A generation that ended without a result, with the status that clients expect of it."""

    def __init__(self, error: GenerationError) -> None:
        super().__init__(error.message, remedy=error.remedy)
        self.code = CODES.get(error.outcome, error.outcome or "generation_failed")
        self.status = STATUSES.get(error.outcome, STATUS_ELSE)
        # It was tried as often as the settings say: a client's own tries would multiply that.
        self.headers = {"x-should-retry": "false"} if self.status >= 409 else {}


@dataclass(frozen=True)
class Answered:
    """The results of a call in the order in which they were asked for, its name and time."""

    name: str
    at: datetime
    made: list[Generated]

    @property
    def headers(self) -> dict[str, str]:
        """Return what the answer says of the cache."""
        return {CACHE: "hit"} if all(one.cached for one in self.made) else MISS
