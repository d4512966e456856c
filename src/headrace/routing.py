"""Which of a stage's models an item asks next: decided here without I/O, done by the executor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from headrace.asked_size import pixels_asked
from headrace.cache import CacheHit
from headrace.circuit import PROBE_S_MAX
from headrace.course import Course, Made, Passed
from headrace.gate import LaneShutError
from headrace.held import HeldItem, OpenAttempt
from headrace.limits import DAY_S, WAIT_S_MAX
from headrace.order import BATCH_PLACE, Option, Order
from headrace.outcome import FOR_A_PERSON, Outcome, OutcomeKind, failed
from headrace.provider_batch import batch_api_of
from headrace.request import Request
from headrace.settlement import is_long, park_s
from headrace.stage import Route, Stage, StageInput

TRIES_EACH = 2
"""Calls that may fail at one choice before the next is asked: the results of a batch should come
from one model where they can, so one accident does not move an item; a second is no accident."""

PATIENCE_S_MIN = 1.0
KEPT_CHARS_MAX = 2_000
WORDS_MAX = 200
"""Characters of a provider's own words that are kept with every item that moved."""

NOTHING_TO_DO = "Nothing to do: it goes on by itself then."

_SHUT = frozenset({OutcomeKind.QUOTA_EXHAUSTED, OutcomeKind.AUTH})
_TROUBLE = frozenset({OutcomeKind.OVERLOADED, OutcomeKind.TRANSIENT, OutcomeKind.TIMEOUT})


# -- the order of the choices ------------------------------------------------------------------


def options_of(stage: Stage, given: StageInput) -> list[Option]:
    """Return what may be asked for one item, in the order of the stage's route.

    Raises ``CallFailed`` (invalid) where one of the requests cannot be built.
    """
    if stage.models is None:
        assert stage.provider is not None  # free stages are passed before
        request = stage.request(given)
        return [Option(0, stage.provider, request.model, request)]
    made = [
        Option(place, choice.provider, choice.model, choice.request(given))
        for place, choice in stage.models.of(given)
    ]
    return made if len(made) == 1 else sorted(made, key=_RANKS[stage.models.route])


def keep_request(item: HeldItem, options: list[Option]) -> None:
    """Let an item keep the request that the cache was asked for, where it is one, and small."""
    request = options[0].request
    if len(options) == 1 and options[0].place == 0 and _is_small(request):
        item.asks = (item.stage, request)


def _is_small(request: Request) -> bool:
    # A worker holds thousands of items: what templates make of large files is built when needed.
    room = KEPT_CHARS_MAX
    for value in request.params.values():
        if type(value) is str:
            room -= len(value)
        elif isinstance(value, dict | list):
            return False
    return room >= 0


def _options_now(item: HeldItem, stage: Stage) -> list[Option]:
    """Return what may be asked for an item; a request that it has kept is used once."""
    kept, item.asks = item.asks, None
    if kept is None or kept[0] != item.stage:
        return options_of(stage, item.given())
    provider = stage.provider if stage.models is None else stage.models.choices[0].provider
    assert provider is not None  # only those that call somebody have requests
    return [Option(0, provider, kept[1].model, kept[1])]


def check_sizes(item: HeldItem, stage: Stage, options: list[Option]) -> None:
    """Raise ``CallFailed`` where a request names more pixels than the tenant's plan allows.

    What was asked already is left: it may be paid for. A rendered row is no request for a size.
    """
    most = item.batch.pixels_max
    if most is None or item.open_attempt is not None or stage.kind == "render":
        return
    for option in options:
        asked = pixels_asked(option.request.params)
        if asked is not None and asked > most:
            raise failed(
                OutcomeKind.INVALID,
                f"row {item.idx + 1}: {asked:,} pixels are asked for, the tenant's plan allows "
                f"{most:,}",
                remedy="Ask for a smaller size, or have the plan changed.",
            )


def _as_listed(option: Option) -> tuple[int]:
    return (option.place,)


def _by_price(option: Option) -> tuple[bool, int, int]:
    cost = option.price.cost_microusd_max
    return (cost is None, cost or 0, option.place)


def _free_first(option: Option) -> tuple[bool, int]:
    limits = option.provider.quota.limits
    by_day = any(limit.window_s is not None and limit.window_s >= DAY_S for limit in limits)
    return (not by_day, option.place)


_RANKS: dict[Route, Callable[[Option], tuple[int, ...]]] = {
    Route.ORDER: _as_listed,
    Route.PRICE: _by_price,
    Route.FREE: _free_first,
}


def order_of(item: HeldItem, now: datetime) -> Order:
    """Return what the item's stage wants bought now, and from whom.

    An attempt whose answer was never seen goes on with whom it asked. Raises ``CallFailed``.
    """
    stage = item.batch.stages[item.stage]
    options = _options_now(item, stage)
    check_sizes(item, stage, options)
    options = with_batches(item, options, now)
    if len(options) == 1:
        return Order(item, stage, options, options[0])
    if item.open_attempt is not None:
        lost = [
            place
            for place, passed in item.course.passed.items()
            if passed.kind is OutcomeKind.LOST_RESULT
        ]
        left = [option for option in options if option.place not in lost]
        return Order(item, stage, options, _asked(left, item.open_attempt))
    order = Order(item, stage, options, options[0])
    if not _pick(order, now):
        item.course = Course()
        with_batches(item, options_of(stage, item.given()), now)
        _pick(order, now)
    return order


# -- through batch APIs ------------------------------------------------------------------------

LIVE_SHARE = 0.25
"""Of the time until a batch's deadline, what is kept for calls of their own."""


def rescue_at(item: HeldItem, now: datetime) -> datetime | None:
    """Return until when an item's present stage may wait for a provider batch.

    ``None`` without a deadline. What is left is shared by the stages that are still to be bought.
    """
    deadline = item.batch.deadline_at
    if deadline is None:
        return None
    stages = sum(stage.provider is not None for stage in item.batch.stages[item.stage :])
    return now + (deadline - now) * (1 - LIVE_SHARE) / max(1, stages)


def with_batches(item: HeldItem, options: list[Option], now: datetime) -> list[Option]:
    """Return the options, behind those by which a provider's batch API would make them.

    They are passed over where too little time is left, and for a canary, which is to be seen.
    """
    until = rescue_at(item, now)
    if until is None:
        return options
    found: list[Option] = []
    for option in options:
        api = batch_api_of(option.provider)
        if api is None or api.group(option.request) is None:
            continue
        place = BATCH_PLACE + option.place
        found.append(option._replace(place=place, batches=api))
        left_s = (until - now).total_seconds()
        name = found[-1].name
        if item.idx < item.batch.canary:
            reason = f"{name}: the canary is not made to wait"
        elif left_s < api.worth_s:
            reason = f"{name}: its deadline is too near"
        else:
            continue
        item.course.passed.setdefault(place, Passed(OutcomeKind.TIMEOUT, reason))
    return [*found, *options]


def _asked(options: list[Option], attempt: OpenAttempt) -> Option:
    """Return the option that an attempt asked; what shapes a request may have changed since."""
    asked = [one for one in options if one.provider.name == attempt.provider]
    in_lane = [one for one in asked if one.lane == attempt.lane]
    exact = [one for one in in_lane if one.request.fingerprint == attempt.fingerprint]
    return (exact or in_lane or asked or options)[0]


# -- moving on ---------------------------------------------------------------------------------


def turn(order: Order, passed: Passed, now: datetime) -> Outcome | None:
    """Pass the order's choice over and turn it to the next.

    Where all have fallen, returns what that means for the item, which then begins again with
    the first: one try of it has failed, or, if all are shut, it waits for the first to open.
    """
    course = order.item.course
    course.passed[order.option.place] = passed
    if _pick(order, now):
        return None
    order.item.course = Course()
    reasons = "; ".join(one.reason for one in course.passed.values())
    # That no provider batch was worth it is nothing that failed.
    live = [one for place, one in course.passed.items() if place < BATCH_PLACE]
    tried = [one for one in live if one.until is None]
    if tried:
        return Outcome(tried[-1].kind, f"every model of this stage fails: {reasons}")
    soonest = min(live, key=lambda one: one.until or now)
    return Outcome(
        OutcomeKind.AUTH if soonest.kind is OutcomeKind.AUTH else OutcomeKind.QUOTA_EXHAUSTED,
        f"every model of this stage is shut: {reasons}",
        remedy=_remedy(renews=soonest.renews),
        wait_s=((soonest.until or now) - now).total_seconds(),
        facts=_facts(renews=soonest.renews),
    )


def _pick(order: Order, now: datetime) -> bool:
    """Turn an order to its best choice that is open, or to the line of one that is in trouble."""
    course = order.item.course
    order.patient, order.patience_s = False, None
    for option in order.options:
        if not course.is_passed(option.place, now):
            order.option = option
            return True
    untils = {place: one.until for place, one in course.passed.items() if one.until is not None}
    brief = [option for option in order.options if course.passed[option.place].briefly]
    if not brief:
        return False
    order.option = min(brief, key=lambda option: untils[option.place])
    order.patient = True
    others = [until for place, until in untils.items() if place != order.option.place]
    if others:
        order.patience_s = max(PATIENCE_S_MIN, (min(others) - now).total_seconds())
    return True


def passed_after(
    order: Order, outcome: Outcome, *, probe: bool, tries_max: int, now: datetime
) -> Passed | None:
    """Return why an item passes its choice over after a failed call; ``None``: it does not.

    ``probe``: the call was to see whether the lane works again. Counts the try.
    """
    name, kind = order.option.name, outcome.kind
    words = (outcome.reason or kind.value)[:WORDS_MAX]
    if kind in _SHUT or is_long(outcome):
        until = _later(now, park_s(outcome))
        reason = f"{name} is shut: {words} {_until(until)}"
        return Passed(kind, reason, until, renews=outcome.renews)
    if kind not in _TROUBLE:
        return None
    if probe:
        until = _later(now, PROBE_S_MAX)
        return Passed(kind, f"{name} is in trouble: {words}", until, briefly=True)
    failed = order.item.course.failed_at(order.option.place)
    if order.option.batches is not None:
        # Another line would wait for hours again.
        return Passed(kind, f"{name}: {words}")
    if failed < min(TRIES_EACH, tries_max):
        return None
    times = "once" if failed == 1 else f"{failed} times"
    return Passed(kind, f"{name} failed {times}: {words}")


def is_trouble(outcome: Outcome) -> bool:
    """Tell whether an outcome is of those that move an item after a few tries."""
    return outcome.kind in _TROUBLE


def passed_shut(order: Order, shut: LaneShutError, now: datetime) -> Passed:
    """Return why an item passes its choice over when the lane is shut to it."""
    name, until = order.option.name, _later(now, shut.wait_s)
    words = shut.reason[:WORDS_MAX]
    if shut.briefly:
        reason = f"{name} is in trouble: {words}"
        return Passed(OutcomeKind.OVERLOADED, reason, until, briefly=True)
    reason = f"{name} is shut: {words} {_until(until)}"
    return Passed(OutcomeKind.QUOTA_EXHAUSTED, reason, until, renews=shut.renews)


def shut_outcome(shut: LaneShutError, now: datetime) -> Outcome:
    """Return what a shut lane means for an item that has nowhere else to go."""
    when = f" {_until(_later(now, shut.wait_s))}" if shut.renews else ""
    return Outcome(
        OutcomeKind.QUOTA_EXHAUSTED,
        f"lane {shut.lane} is shut{when}: {shut.reason}",
        remedy=_remedy(renews=shut.renews),
        wait_s=shut.wait_s,
        facts=_facts(renews=shut.renews),
    )


def _remedy(*, renews: bool) -> str:
    return NOTHING_TO_DO if renews else "'headrace lanes' shows until when."


def _facts(*, renews: bool) -> dict[str, bool]:
    return {} if renews else {FOR_A_PERSON: True}


def _later(now: datetime, wait_s: float) -> datetime:
    return now + timedelta(seconds=min(max(0.0, wait_s), WAIT_S_MAX))


def _until(until: datetime) -> str:
    return f"until {until:%Y-%m-%d %H:%M} UTC"


# -- what is told ------------------------------------------------------------------------------


def made_by(order: Order) -> Made:
    """Return who has made the order's stage, and why not the first choice."""
    option, why = order.option, None
    if option is not order.options[0]:
        passed = order.item.course.passed
        before = order.options[: order.options.index(option)]
        reasons = [passed[one.place].reason for one in before if one.place in passed]
        why = "; ".join(reasons) or "an earlier call to it was gone on with"
    return Made(option.provider.name, option.model, why)


def best_hit(options: list[Option], hits: dict[bytes, CacheHit]) -> CacheHit | None:
    """Return the cached result of the best option that has one."""
    for option in options:
        hit = hits.get(option.request.fingerprint)
        if hit is not None:
            return hit
    return None


def made_before(options: list[Option], hit: CacheHit) -> Made:
    """Return who made a result that was found in the cache, or bought by another just now."""
    for option in options[1:]:
        if option.request.fingerprint == hit.fingerprint:
            return Made(option.provider.name, option.model, "its result was there already")
    return Made(options[0].provider.name, options[0].model)
