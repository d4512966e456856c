"""How an attempt ended: a closed set of outcomes, and the one decision each leads to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace.limits import Said

COMPLAINTS = "complaints"
"""The fact of a check's failure: what an artifact was rejected for, as texts."""

STORE_AWAY = "store_away"
"""The fact of a call that was not sent because the blob store was away: nobody's fault but ours."""


FOR_A_PERSON = "for_a_person"
"""The fact of a lane that a person must see to: its wait is only until somebody looks again."""


class OutcomeKind(StrEnum):
    """The closed set of ways in which an attempt can end."""

    SUCCESS = "success"
    REFUSED = "refused"
    INVALID = "invalid"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    OVERLOADED = "overloaded"
    TRANSIENT = "transient"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"
    NO_OUTPUT = "no_output"
    LOST_RESULT = "lost_result"
    CANCELLED = "cancelled"
    PENDING = "pending"


class Decision(StrEnum):
    """What happens to the item after an attempt: one word for each way on."""

    SUCCEED = "succeed"
    RETRY = "retry"
    PARK = "park"
    FAIL = "fail"
    REFUSE = "refuse"
    ASK = "ask"
    CANCEL = "cancel"


DECISIONS: dict[OutcomeKind, Decision] = {
    OutcomeKind.SUCCESS: Decision.SUCCEED,
    OutcomeKind.REFUSED: Decision.REFUSE,
    OutcomeKind.INVALID: Decision.FAIL,
    OutcomeKind.AUTH: Decision.PARK,
    OutcomeKind.RATE_LIMITED: Decision.RETRY,
    OutcomeKind.QUOTA_EXHAUSTED: Decision.PARK,
    OutcomeKind.OVERLOADED: Decision.RETRY,
    OutcomeKind.TRANSIENT: Decision.RETRY,
    OutcomeKind.TIMEOUT: Decision.RETRY,
    OutcomeKind.UNKNOWN: Decision.ASK,
    OutcomeKind.NO_OUTPUT: Decision.RETRY,
    OutcomeKind.LOST_RESULT: Decision.ASK,
    OutcomeKind.CANCELLED: Decision.CANCEL,
    # Handed in, to be answered later: nothing has failed.
    OutcomeKind.PENDING: Decision.PARK,
}


_RENEWING = frozenset({OutcomeKind.RATE_LIMITED, OutcomeKind.QUOTA_EXHAUSTED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    ``wait_s`` is the wait that the provider asked for, in seconds, ``None`` when it
    named none. ``reason`` and ``remedy`` are for people; ``facts`` holds further JSON.
    ``provider_request_id`` is the provider's own id where it gave one; costs are the
    provider's true cost in micro-USD (``None`` when unknown) and are kept also for
    failures that the provider bills. ``estimate_microusd`` stands in for a true cost
    that is not known; it is never added to one. ``said`` is what the answer tells about the
    lane's limits. ``ended``: the provider said it of the call itself, which it had accepted;
    otherwise it may be our asking after it that failed.
    """

    kind: OutcomeKind
    reason: str = ""
    remedy: str = ""
    wait_s: float | None = None
    provider_request_id: str | None = None
    cost_microusd: int | None = None
    estimate_microusd: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    said: Said | None = None
    ended: bool = False

    @property
    def decision(self) -> Decision:
        """Return the one decision that this kind of outcome leads to."""
        return DECISIONS[self.kind]

    @property
    def renews(self) -> bool:
        """Tell whether it is over by itself at a named time: a rate, or a quota that comes back."""
        named = self.wait_s is not None and FOR_A_PERSON not in self.facts
        return named and self.kind in _RENEWING


class CallFailed(Exception):  # noqa: N818 - it carries an outcome, it is not a fault of ours
    """Raised by a provider when a call ended in anything but success."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason or outcome.kind.value)
        self.outcome = outcome


def failed(kind: OutcomeKind, reason: str, **more: Any) -> CallFailed:
    """Return the exception that a provider raises to end a call with ``kind``."""
    return CallFailed(Outcome(kind=kind, reason=reason, **more))
