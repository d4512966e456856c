"""Waits of hours: what renews by itself is waited for, and costs an item no try."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from headrace.backoff import RetryBudget, RetryPolicy
from headrace.event import EventKind
from headrace.gate import LaneShutError, shut_for
from headrace.gates.shared import SharedLane, pack_lane, unpack_lane
from headrace.held import HeldItem
from headrace.lifecycle import ItemState
from headrace.limits import ONE_CALL, Dimension, Limit, Quota
from headrace.outcome import FOR_A_PERSON, Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.routing import order_of, passed_after, passed_shut, shut_outcome, turn
from headrace.settlement import IN_HAND_S, PARK_S, REFUSALS_MAX, fallen, goes_on
from headrace.store.writes import Settle
from tests.unit.test_routing import NOW, item_of

HOUR_S, DAY_S = 3600.0, 86_400.0
LIMITED = Outcome(OutcomeKind.RATE_LIMITED, "come back in an hour", wait_s=HOUR_S)
NO_FUNDS = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "no credit left")
NO_KEY = Outcome(OutcomeKind.AUTH, "no such key")
DAY_USED = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "the day is used up", wait_s=2 * HOUR_S)
ANY = Quota(4)
BY_DAY = Quota(4, (Limit(Dimension.REQUESTS, 2, DAY_S),), pinned=True)
BY_HOUR = Quota(4, (Limit(Dimension.REQUESTS, 2, HOUR_S),), pinned=True)


def falls(item: HeldItem, outcome: Outcome, budget: RetryBudget | None = None) -> Settle:
    return fallen(item, outcome, RetryPolicy(), budget or RetryBudget(), NOW, Random(1))


# -- an item -----------------------------------------------------------------------------------


def test_a_long_wait_for_the_rate_is_no_try() -> None:
    """However often an item is told to wait an hour, it waits, until then, and never fails."""
    item, budget = item_of("a:m"), RetryBudget()
    for _ in range(50):
        assert not goes_on(item, LIMITED)
        settle = falls(item, LIMITED, budget)
        assert settle.to_state is ItemState.WAITING
        assert settle.due_at == NOW + timedelta(seconds=HOUR_S)
        assert (settle.tries, item.tries) == (0, 0)
    assert budget.left == RetryBudget().left


def test_a_long_wait_says_that_it_renews_and_until_when() -> None:
    """The error of the item and the event of its waiting tell that no person is needed."""
    settle = falls(item_of("a:m"), LIMITED)
    assert settle.error is not None
    assert settle.event_data is not None
    error, told = json.loads(settle.error), json.loads(settle.event_data)
    assert (error["code"], error["renews"]) == ("rate_limited", True)
    assert settle.event is EventKind.ITEM_WAITING
    assert told == {
        "code": "rate_limited",
        "reason": "come back in an hour",
        "due_at": (NOW + timedelta(seconds=HOUR_S)).isoformat(),
        "renews": True,
    }


def test_short_refusals_for_the_rate_are_bounded_still() -> None:
    """A call that is refused for ever, and told to come back at once, fails in the end."""
    item, short = item_of("a:m"), replace(LIMITED, wait_s=IN_HAND_S)
    assert goes_on(item, short)
    item.refusals = REFUSALS_MAX
    assert not goes_on(item, short)
    ends = [falls(item, short).to_state for _ in range(5)]
    assert ends == [ItemState.WAITING] * 4 + [ItemState.FAILED]


@pytest.mark.parametrize(
    ("outcome", "renews"),
    [
        (LIMITED, True),
        (DAY_USED, True),
        (NO_FUNDS, False),
        (NO_KEY, False),
        (replace(NO_KEY, wait_s=60.0), False),
        (replace(DAY_USED, facts={FOR_A_PERSON: True}), False),
        (Outcome(OutcomeKind.OVERLOADED, wait_s=HOUR_S), False),
    ],
)
def test_only_a_named_time_renews(outcome: Outcome, renews: bool) -> None:
    """A rate or a quota with a time is waited for; a key, or funds, need a person."""
    assert outcome.renews is renews
    error = json.loads(falls(item_of("a:m"), outcome).error or "")
    assert error.get("renews", False) is renews


# -- a lane ------------------------------------------------------------------------------------


def lane_after(*outcomes: Outcome, quota: Quota = ANY) -> Pacer:
    """Return a lane that has sent as many calls, and then heard how each of them ended."""
    pacer = Pacer(quota, 0.0)
    tickets = [pacer.send(ONE_CALL, 0.0) for _ in outcomes]
    for ticket, outcome in zip(tickets, outcomes, strict=True):
        pacer.end(ticket, outcome, 0.0)
    return pacer


def why(pacer: Pacer) -> LaneShutError:
    return shut_for("x", pacer, 0.0, pacer.shut_s(0.0))


DONE = Outcome(OutcomeKind.SUCCESS)


@pytest.mark.parametrize(
    ("pacer", "renews", "words", "wait_s"),
    [
        (lane_after(LIMITED), True, "long wait", HOUR_S),
        (lane_after(DAY_USED), True, "the day is used up", 2 * HOUR_S),
        (lane_after(DONE, DONE, quota=BY_DAY), True, "2 requests a day are used up", DAY_S),
        (lane_after(NO_FUNDS), False, "no credit left", PARK_S),
        (lane_after(NO_KEY), False, "no such key", 60.0),
        # Several at once: what keeps it shut for longest is what there is to wait for.
        (lane_after(DAY_USED, NO_KEY), True, "the day is used up", 2 * HOUR_S),
        (lane_after(NO_FUNDS, LIMITED), False, "no credit left", PARK_S),
        (lane_after(NO_FUNDS, DONE, quota=BY_DAY), True, "a day are used up", DAY_S),
        (lane_after(DONE, NO_FUNDS, quota=BY_HOUR), False, "no credit left", HOUR_S),
    ],
)
def test_a_shut_lane_knows_whether_it_opens_by_itself(
    pacer: Pacer, renews: bool, words: str, wait_s: float
) -> None:
    """A told wait and a quota with a time renew; funds and keys do not, and the reason fits."""
    shut = why(pacer)
    assert (shut.renews, shut.wait_s) == (renews, pytest.approx(wait_s))
    assert words in shut.reason


def test_who_shares_a_lane_knows_it_too() -> None:
    """That a shut lane renews is kept in the row that its workers share."""
    for outcome in (DAY_USED, NO_FUNDS):
        lane = unpack_lane(pack_lane(SharedLane(lane_after(outcome))), Quota(4))
        assert lane is not None
        assert why(lane.pacer).renews is outcome.renews


def test_an_item_at_a_shut_lane_says_until_when() -> None:
    """What renews has its moment in the reason, what a person must see to points at the lanes."""
    now = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
    renewing = shut_outcome(LaneShutError("x", DAY_S, "used up", renews=True), now)
    assert renewing.reason == "lane x is shut until 2026-11-24 00:00 UTC: used up"
    assert (renewing.kind, renewing.renews) == (OutcomeKind.QUOTA_EXHAUSTED, True)
    funds = shut_outcome(LaneShutError("x", HOUR_S, "no credit left"), now)
    assert funds.reason == "lane x is shut: no credit left"
    assert (funds.wait_s, funds.renews) == (HOUR_S, False)
    assert "headrace lanes" in funds.remedy


# -- several models ----------------------------------------------------------------------------


def told(order: Any, outcome: Outcome) -> Outcome | None:
    """Let an order hear how its call ended; return what that means for the item."""
    passed = passed_after(order, outcome, probe=False, tries_max=5, now=NOW)
    assert passed is not None
    return turn(order, passed, NOW)


@pytest.mark.parametrize(
    ("first", "second", "wait_s", "renews"),
    [
        (LIMITED, DAY_USED, HOUR_S, True),
        (DAY_USED, replace(LIMITED, wait_s=DAY_S), 2 * HOUR_S, True),
        (NO_FUNDS, DAY_USED, PARK_S, False),
        (DAY_USED, NO_KEY, 60.0, False),
    ],
)
def test_of_several_models_the_first_to_open_counts(
    first: Outcome, second: Outcome, wait_s: float, renews: bool
) -> None:
    """Where all are shut the item waits for the first, no try counted, and says if it renews."""
    order = order_of(item_of("a:m", "b:m"), NOW)
    assert told(order, first) is None
    ended = told(order, second)
    assert ended is not None
    assert (ended.wait_s, ended.renews) == (wait_s, renews)
    settle = falls(order.item, ended)
    assert (settle.to_state, settle.tries) == (ItemState.WAITING, 0)


def test_a_lane_that_was_shut_before_renews_as_well() -> None:
    """An item that did not even ask knows from the lane whether it is to be waited for."""
    order = order_of(item_of("a:m", "b:m"), NOW)
    assert turn(order, passed_shut(order, why(lane_after(LIMITED)), NOW), NOW) is None
    ended = turn(order, passed_shut(order, why(lane_after(DAY_USED)), NOW), NOW)
    assert ended is not None
    assert (ended.wait_s, ended.renews) == (HOUR_S, True)
