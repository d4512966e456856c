"""What may be done about a call whose answer was never seen: decided here, done elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headrace.held import OpenAttempt
from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import CrashClass
from headrace.purchase import Bought


class Way(StrEnum):
    """The ways on after an unseen answer."""

    RESEND = "resend"
    RESUME = "resume"
    FIND = "find"
    REPEAT = "repeat"
    HOLD = "hold"
    REFUND = "refund"


WITHOUT_IT = frozenset({Way.REPEAT, Way.HOLD, Way.REFUND})
"""The ways that give up what was made: another is bought, or none."""

REPEATS_MAX = 1
"""How often the policy ``retry`` buys an item of a blind provider again in one round."""


def way_on(crash_class: CrashClass, attempt: OpenAttempt, policy: str) -> Way:
    """Return what the provider's class, and for a blind one the batch's policy, allow.

    What is gone for good nobody can follow, so that the policy decides for it, too.
    """
    if crash_class in (CrashClass.PURE, CrashClass.KEYED):
        return Way.RESEND
    if crash_class is not CrashClass.BLIND and not attempt.gone:
        if attempt.provider_request_id is not None:
            return Way.RESUME
        if crash_class is CrashClass.LISTED:
            return Way.FIND
    if policy == "hold":
        return Way.HOLD
    if policy == "retry" and attempt.repeats < REPEATS_MAX:
        return Way.REPEAT
    return Way.REFUND


@dataclass(frozen=True, slots=True)
class Again:
    """How an earlier attempt is continued by a new one that supersedes it.

    ``repeats`` marks a purchase that may be a second one; ``resume`` carries the
    provider's id and address of the earlier call, ``bought`` what it gave where that is known.
    """

    supersedes: int
    key_number: int
    repeats: bool = False
    resume: tuple[str, str | None] | None = None
    bought: Bought | None = None

    @property
    def goes_on(self) -> bool:
        """Tell whether it is gone on with what an earlier call began: nobody is called anew."""
        return self.resume is not None or self.bought is not None


def again(way: Way, attempt: OpenAttempt, next_number: int) -> Again:
    """Return how to go on by ``way``: the same client key, but for a purchase made anew."""
    if way is Way.RESUME and attempt.provider_request_id is not None:
        resume = (attempt.provider_request_id, attempt.provider_url)
        return Again(attempt.number, attempt.key_number, resume=resume)
    if way is Way.REPEAT:
        return Again(attempt.number, next_number, repeats=True)
    return Again(attempt.number, attempt.key_number)


_ABOUT_THE_ASKING = frozenset(
    {
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.QUOTA_EXHAUSTED,
        OutcomeKind.AUTH,
        OutcomeKind.TIMEOUT,
        OutcomeKind.OVERLOADED,
        OutcomeKind.TRANSIENT,
    }
)


def leaves_open(
    crash_class: CrashClass, attempt: OpenAttempt, again: Again | None, outcome: Outcome
) -> bool:
    """Tell whether a failed attempt leaves a purchase behind that may be paid all the same.

    That is so when it went on with an earlier call, or was accepted, and what failed is our
    asking: turned away, or broken. The purchase is then gone on with again.
    """
    if outcome.kind is OutcomeKind.PENDING:
        return not outcome.ended
    if crash_class in (CrashClass.PURE, CrashClass.BLIND) or outcome.ended:
        return False
    goes_on = again is not None and not again.repeats
    is_accepted = attempt.provider_request_id is not None
    return (goes_on or is_accepted) and outcome.kind in _ABOUT_THE_ASKING
