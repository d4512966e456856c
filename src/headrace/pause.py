"""Why a batch is paused, and what to do about it: kept with the batch, told by its event."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class PauseCode(StrEnum):
    """The closed set of reasons for a pause.

    ``PERSON``: somebody paused it. ``LOOK_FIRST``: its canary is done and somebody wants to
    look at it. ``CANARY``: more than half of the canary failed. ``AUTH``: a provider
    rejects the key. ``QUOTA_EXHAUSTED``: a provider's funds are spent, or a quota of which
    nobody says when it renews.
    ``BUDGET``: the next call does not fit under the batch's cap. ``HOURS``: its schedule lets it
    run at other hours.
    """

    PERSON = "person"
    LOOK_FIRST = "look_first"
    CANARY = "canary"
    AUTH = "auth"
    QUOTA_EXHAUSTED = "quota_exhausted"
    BUDGET = "budget"
    HOURS = "hours"


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a batch is paused: ``reason`` says what was seen, ``remedy`` what helps."""

    code: PauseCode
    reason: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the pause as a JSON object."""
        return asdict(self)

    def event_data(self) -> str:
        """Return what the event of the pause tells, as JSON text."""
        return json.dumps({"state": "paused", **self.to_json()}, ensure_ascii=False)


BY_PERSON = Pause(PauseCode.PERSON, "paused by hand")


def read_pause(text: str | None) -> Pause | None:
    """Return the pause that is kept as JSON text; ``None`` for none."""
    if text is None:
        return None
    told = json.loads(text)
    return Pause(PauseCode(told["code"]), told["reason"], told["remedy"])
