"""What an item's next settle says: decided here without I/O, written by the writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from headrace.artifact import Artifact
from headrace.backoff import RetryBudget, RetryPolicy
from headrace.complaint import blame_of
from headrace.course import Course
from headrace.event import EventKind
from headrace.held import HeldItem, encode_json
from headrace.lifecycle import AttemptState, ItemState
from headrace.limits import WAIT_S_MAX
from headrace.outcome import COMPLAINTS, STORE_AWAY, Decision, Outcome, OutcomeKind
from headrace.recovery import Way
from headrace.sending_back import is_last_complaint, send_back
from headrace.stage import Named, passes_by
from headrace.store.writes import AttemptEnd, Settle

PARK_S = 3600.0
"""How long an item waits for a spent quota whose renewal the provider does not name."""

IN_HAND_S = 60.0
"""An item whose lane is shut for longer leaves this worker's hands until then."""

ELSEWHERE_S = 30.0
"""How often an item looks whether its result has left another machine."""

STORE_AWAY_S = 15.0
"""How often an item looks whether its pictures can be read again."""

REFUSALS_MAX = 100
"""A call that is refused for its rate costs no attempt, but not for ever."""

KEY_S = 60.0
"""How long an item waits for a key that is rejected to be put right."""

_ENDS: dict[Decision, tuple[ItemState, EventKind]] = {
    Decision.FAIL: (ItemState.FAILED, EventKind.ITEM_FAILED),
    Decision.REFUSE: (ItemState.REFUSED, EventKind.ITEM_REFUSED),
    Decision.CANCEL: (ItemState.CANCELLED, EventKind.ITEM_CANCELLED),
}

_ATTEMPT_STATES: dict[OutcomeKind, AttemptState] = {
    OutcomeKind.SUCCESS: AttemptState.SUCCEEDED,
    OutcomeKind.REFUSED: AttemptState.REFUSED,
    OutcomeKind.UNKNOWN: AttemptState.UNKNOWN,
    OutcomeKind.LOST_RESULT: AttemptState.UNKNOWN,
}


_PERHAPS_BILLED = frozenset(
    {
        OutcomeKind.SUCCESS,
        OutcomeKind.UNKNOWN,
        OutcomeKind.LOST_RESULT,
        OutcomeKind.NO_OUTPUT,
        OutcomeKind.CANCELLED,
    }
)
"""Ends after which a provider may send a bill; without cost or estimate, the worst case counts."""


def attempt_end(
    number: int, outcome: Outcome, latency_s: float, facts: dict[str, Any] | None = None
) -> AttemptEnd:
    """Return how an attempt ended, as it is written."""
    told = facts if facts is not None else outcome.facts
    cost = outcome.cost_microusd
    estimate = outcome.estimate_microusd if cost is None else None
    return AttemptEnd(
        number=number,
        state=_ATTEMPT_STATES.get(outcome.kind, AttemptState.FAILED),
        outcome=outcome.kind,
        provider_request_id=outcome.provider_request_id,
        cost_microusd=cost,
        cost_estimate_microusd=estimate,
        latency_ms=round(latency_s * 1000),
        facts=encode_json(told).decode() if told else None,
        error=None if outcome.kind is OutcomeKind.SUCCESS else _error_json(outcome),
        untold=cost is None and estimate is None and outcome.kind in _PERHAPS_BILLED,
    )


def of_part(outcome: Outcome) -> Outcome:
    """Return how an attempt ended whose purchase is gone on with: what that cost is told once.

    A result that may still be had is not lost: that word is kept for what is gone.
    """
    kind = OutcomeKind.UNKNOWN if outcome.kind is OutcomeKind.LOST_RESULT else outcome.kind
    return replace(outcome, kind=kind, cost_microusd=None, estimate_microusd=None)


def given_up(number: int) -> AttemptEnd:
    """Return the end of an attempt whose answer was never seen and is no longer needed."""
    outcome = Outcome(OutcomeKind.UNKNOWN, "its answer was never seen")
    end = attempt_end(number, outcome, 0.0)
    end.state = AttemptState.RESOLVED
    return end


def attach(settle: Settle, end: AttemptEnd, claimed: bytes | None) -> None:
    """Let ``settle`` end an attempt too, and give back (or fill) its claimed fingerprint."""
    settle.attempt = end
    settle.cost_microusd = end.cost_microusd or 0
    settle.cost_estimate_microusd = end.cost_estimate_microusd or 0
    known = end.cost_microusd is not None or end.cost_estimate_microusd is not None
    settle.cost_unknown = not known and end.state is AttemptState.SUCCEEDED
    settle.fingerprint = claimed


def _error_json(outcome: Outcome, stage: str = "", *, renews: bool = False) -> str:
    error: dict[str, Any] = {
        "code": outcome.kind.value,
        "reason": outcome.reason,
        "remedy": outcome.remedy,
    }
    if stage:
        error["stage"] = stage
    if renews:
        error["renews"] = True
    return encode_json(error).decode()


def pass_free_stages(item: HeldItem) -> bool:
    """Do the stages that call nobody; returns whether the item is through its recipe.

    Stops where a text is needed that is not read yet. Raises ``CallFailed`` where such a
    stage rejects the item.
    """
    stages = item.batch.stages
    while item.stage < len(stages):
        stage = stages[item.stage]
        if item.unread():
            return False
        if stage.provider is not None:
            if not passes_by(stage, item.previous):
                return False
            item.cached_stages += 1
            item.stage += 1
            continue
        made = stage.apply(item.given())
        if isinstance(made, Named):
            item.file = made.file
        elif isinstance(made, Artifact):
            item.take(stage.name, made)
        item.stage += 1
    return True


def _settle(item: HeldItem, to_state: ItemState) -> Settle:
    batch = item.batch
    return Settle(
        batch_id=batch.id,
        idx=item.idx,
        version=item.version,
        from_state=item.state,
        to_state=to_state,
        tenant_id=batch.tenant_id,
        shard_id=item.shard_id,
        fence=item.fence,
        round=item.round,
        stage=item.stage,
        tries=item.tries,
        course=item.course_json(),
        spent_microcredits=item.spent_microcredits - item.spent_saved,
        priced_microcredits=item.priced_microcredits,
    )


def moved_on(item: HeldItem, through: bool) -> Settle:
    """Return the settle of an item whose stage gave a result; ``through``: it was the last."""
    item.tries, item.course = 0, Course()
    settle = _settle(item, ItemState.SUCCEEDED if through else ItemState.RUNNING)
    settle.outputs = item.outputs_json()
    settle.made = item.made_json()
    settle.file = item.file
    if through:
        provided = sum(stage.provider is not None for stage in item.batch.stages)
        settle.cached = provided > 0 and item.cached_stages == provided
        reserve = item.batch.reserve_microcredits
        settle.post_microcredits = min(item.spent_microcredits, reserve)
        settle.void_microcredits = reserve - settle.post_microcredits
        settle.overrun_microcredits = item.spent_microcredits - settle.post_microcredits
        settle.reason = "delivered from cache" if settle.cached else "delivered"
        settle.event = EventKind.ITEM_SUCCEEDED
        settle.event_data = _success_data(item, settle.cached)
    return settle


def _success_data(item: HeldItem, cached: bool) -> str:
    data: dict[str, Any] = {"cached": cached}
    if item.previous is not None:
        data["artifact"] = item.previous.to_json()
    if item.file is not None:
        data["file"] = item.file
    if item.made:
        data["made"] = {name: made.to_json() for name, made in item.made.items()}
    return encode_json(data).decode()


def ended(item: HeldItem, outcome: Outcome, to_state: ItemState, event: EventKind) -> Settle:
    """Return the settle of an item that ends without a result: its whole reserve goes back."""
    settle = _settle(item, to_state)
    stage = item.batch.stages[item.stage].name if item.stage < len(item.batch.stages) else ""
    settle.error = _error_json(outcome, stage)
    settle.void_microcredits = item.batch.reserve_microcredits
    settle.reason = to_state.value
    settle.event = event
    settle.event_data = settle.error
    return settle


def goes_on(item: HeldItem, outcome: Outcome) -> bool:
    """Tell whether nothing has failed: refused for the rate, or unsent, it is tried again."""
    if STORE_AWAY in outcome.facts:
        return True
    short = outcome.kind is OutcomeKind.RATE_LIMITED and not is_long(outcome)
    return short and item.refusals < REFUSALS_MAX


def is_long(outcome: Outcome) -> bool:
    """Tell whether a refusal for the rate names a wait that no worker holds an item for."""
    return outcome.kind is OutcomeKind.RATE_LIMITED and (outcome.wait_s or 0.0) > IN_HAND_S


def decision_of(outcome: Outcome) -> Decision:
    """Return what becomes of an item: one that is told to wait for long has not failed."""
    return Decision.PARK if is_long(outcome) else outcome.decision


def in_line(item: HeldItem, outcome: Outcome, now: datetime) -> Settle:
    """Return the settle of an item whose call was refused for the rate: it asks again.

    One whose pictures could not be read waits for the blob store; neither costs a try.
    """
    if STORE_AWAY in outcome.facts:
        return waiting(item, outcome, now + timedelta(seconds=STORE_AWAY_S))
    item.refusals += 1
    return turned(item)


def turned(item: HeldItem) -> Settle:
    """Return the settle of an item whose call failed and that asks again, or another, at once."""
    return _settle(item, ItemState.RUNNING)


def keep_open(end: AttemptEnd) -> None:
    """Let a failed attempt stay unseen: what it went on with may be paid all the same."""
    end.state, end.untold = AttemptState.UNKNOWN, True


def waiting(item: HeldItem, outcome: Outcome, due_at: datetime) -> Settle:
    """Return the settle of an item that waits until ``due_at`` and leaves its shard."""
    settle = _settle(item, ItemState.WAITING)
    stage = item.batch.stages[item.stage].name
    settle.error = _error_json(outcome, stage, renews=outcome.renews)
    settle.due_at = due_at
    settle.event = EventKind.ITEM_WAITING
    data: dict[str, Any] = {
        "code": outcome.kind.value,
        "reason": outcome.reason,
        "due_at": due_at.isoformat(),
    }
    if outcome.renews:
        data["renews"] = True
    settle.event_data = encode_json(data).decode()
    return settle


def elsewhere(item: HeldItem, number: int, place: str, now: datetime) -> Settle:
    """Return the settle of an item whose result lies on another machine's disk: it waits for it.

    Its attempt ``number`` stays unseen.
    """
    outcome = Outcome(
        OutcomeKind.UNKNOWN,
        f"its result is bought and waits in the spool of {place} for the object store",
        remedy="Start a worker there with the same home; see docs/storage.md if it is gone.",
    )
    settle = waiting(item, outcome, now + timedelta(seconds=ELSEWHERE_S))
    settle.attempt = attempt_end(number, outcome, 0.0)
    keep_open(settle.attempt)
    return settle


def asked(
    item: HeldItem, outcome: Outcome, way: Way, fallen: Callable[[HeldItem, Outcome], Settle]
) -> Settle:
    """Return the settle after an answer that was not seen, by the way that is open.

    Hold: the item stays unknown until a person decides. Refund: it fails. Otherwise it
    waits like any retry, and its attempt stays unknown until the next one resolves it.
    """
    if way is Way.HOLD:
        settle = _settle(item, ItemState.UNKNOWN)
        settle.error = _error_json(outcome, item.batch.stages[item.stage].name)
        return settle
    if way is Way.REFUND:
        return ended(item, outcome, ItemState.FAILED, EventKind.ITEM_FAILED)
    later = Outcome(OutcomeKind.TRANSIENT, outcome.reason, outcome.remedy, outcome.wait_s)
    return fallen(item, later)


def rejected(item: HeldItem, outcome: Outcome) -> Settle:
    """Return the settle of an item whose check blames an earlier stage for ``outcome``.

    It goes on from that stage; after the last complaint it fails, and stands there too,
    so that a person's retry buys that stage again and none before it.
    """
    settle = None
    if is_last_complaint(item):
        settle = ended(item, outcome, ItemState.FAILED, EventKind.ITEM_FAILED)
    complaint = send_back(item, outcome)
    if settle is None:
        settle = _settle(item, ItemState.RUNNING)
    settle.stage, settle.tries = item.stage, item.tries
    settle.outputs, settle.artifact = item.outputs_json(), complaint
    settle.made, settle.course = item.made_json(), item.course_json()
    return settle


def fallen(
    item: HeldItem,
    outcome: Outcome,
    policy: RetryPolicy,
    budget: RetryBudget,
    now: datetime,
    random: Random,
) -> Settle:
    """Return the settle after an outcome other than success: retry, park, fail or refuse.

    What a check rejects goes back to the stage that it blames, as often as it may.
    """
    if COMPLAINTS in outcome.facts and blame_of(item.batch.stages[item.stage]) is not None:
        return rejected(item, outcome)
    decision = decision_of(outcome)
    if decision is Decision.RETRY:
        item.tries += 1
        if policy.allows(item.tries):
            return tried(item, item.tries, outcome, policy, budget, now, random)
        decision = Decision.FAIL
    if decision is Decision.PARK:
        return waiting(item, outcome, now + timedelta(seconds=min(park_s(outcome), WAIT_S_MAX)))
    to_state, event = _ENDS[decision]
    return ended(item, outcome, to_state, event)


def park_s(outcome: Outcome) -> float:
    """Return how long what needs a key, funds, a quota or a rate waits for them."""
    if outcome.wait_s is not None:
        return max(0.0, outcome.wait_s)
    return KEY_S if outcome.kind is OutcomeKind.AUTH else PARK_S


def tried(
    item: HeldItem,
    tries: int,
    outcome: Outcome,
    policy: RetryPolicy,
    budget: RetryBudget,
    now: datetime,
    random: Random,
) -> Settle:
    """Return the settle of an item that is tried again after so many failed tries."""
    wait_s = policy.wait_s(tries, outcome.wait_s, random)
    if not budget.spend():
        wait_s += policy.wait_max_s
    return waiting(item, outcome, now + timedelta(seconds=wait_s))


def buried(item: HeldItem) -> Settle:
    """Return the settle of a poison item, whose worker died at every attempt."""
    outcome = Outcome(
        OutcomeKind.INVALID,
        f"its worker died {item.crashes} times while working on it",
        remedy="Look at this row's input; 'headrace retry' tries it again.",
    )
    settle = ended(item, outcome, ItemState.DEAD, EventKind.ITEM_DEAD)
    if item.open_attempt is not None:
        settle.attempt = given_up(item.open_attempt.number)
    return settle
