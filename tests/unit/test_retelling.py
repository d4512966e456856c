"""Told rates over time: stated anew, stated no more, and trusted again."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from headrace.announced import read_announced
from headrace.limits import ONE_CALL, Dimension, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.simulator.limiters import FixedWindow, Gcra, SlidingLog, TokenBucket
from tests.unit.driven import Asked, announced, drive, limited
from tests.unit.lanes_drawn import REMOTE

REQUESTS = Dimension.REQUESTS


@pytest.mark.parametrize(("before", "after"), [(30, 300), (300, 30)])
def test_a_limit_that_answers_state_anew_is_used(before: int, after: int) -> None:
    """A plan is upgraded, or loses its credit: each answer says so, and a minute later it shows."""
    limiter = SlidingLog(before, 60.0)

    def amount(now_s: float) -> float:
        limiter.amount = after if now_s > 300.0 else before
        return float(limiter.amount)

    says, usual = announced(limiter, amount, 60.0), limited(limiter, lambda wait_s: None)

    def ask(load: Load, now_s: float) -> Asked:
        amount(now_s)
        return usual(load, now_s)

    pacer = Pacer(REMOTE, 0.0)
    run = drive(pacer, ask, 900.0, says=says)
    assert run.rate(480.0, 900.0) >= 0.97 * after / 60.0
    assert run.refused(300.0) <= 6
    assert pacer.rates[REQUESTS].told == after / 60.0


def test_a_stated_limit_that_falls_for_seconds_is_used_as_soon_as_it_is_back() -> None:
    """The provider is in need for 20 s, and each answer says so: all that it gives is used."""
    low, high, pacer = TokenBucket(35 / 6, 10), TokenBucket(10, 10), Pacer(REMOTE, 0.0)

    def at(now_s: float) -> TokenBucket:
        return low if 120.0 <= now_s < 140.0 else high

    def ask(load: Load, now_s: float) -> Asked:
        wait_s = at(now_s).wait_s(1, now_s)
        if wait_s > 0:
            return Asked(refused=True, wait_s=wait_s)
        at(now_s).take(1, now_s)
        return Asked()

    def says(now_s: float) -> tuple[Limit, ...]:
        return (Limit(REQUESTS, 60.0 * at(now_s).rate, 60.0),)

    run = drive(pacer, ask, 200.0, says=says)
    assert run.rate(142.0, 200.0) >= 0.97 * 10.0
    assert run.refused(60.0) <= 2


def test_a_limit_that_is_stated_up_and_down_is_raised_once_a_minute() -> None:
    """Servers that disagree, each for a few answers, lead up at most so often."""
    pacer, told, raised = Pacer(REMOTE, 0.0), 1.0, []
    for number in range(1200):
        amount = 600.0 if number // 4 % 2 else 60.0
        said = Said(limits=(Limit(REQUESTS, amount, 60.0),))
        ticket = pacer.send(ONE_CALL, float(number))
        pacer.end(ticket, Outcome(OutcomeKind.SUCCESS, said=said), number + 0.5)
        now = pacer.rates[REQUESTS].told or 0.0
        raised += [number] if now > told else []
        told = now
    assert 15 <= len(raised) <= 20
    assert min(later - one for one, later in pairwise(raised)) >= 60


def test_servers_that_take_turns_in_what_they_state_lead_nobody_up_and_down() -> None:
    """Every other answer is of a server that states ten times as much: one is believed."""
    pacer, turn = Pacer(REMOTE, 0.0), [0]

    def says(now_s: float) -> tuple[Limit, ...]:
        turn[0] += 1
        return (Limit(REQUESTS, 600.0 if turn[0] % 2 else 6000.0, 60.0),)

    run = drive(pacer, limited(TokenBucket(10, 10), lambda wait_s: 1.0), 600.0, says=says)
    assert run.rate(60.0, 600.0) >= 0.97 * 10.0
    assert run.refused(60.0) <= 0.002 * run.accepted(60.0)


@pytest.mark.parametrize("rises_s", [300.0, math.inf])
def test_a_limit_that_only_refusals_state_is_looked_above(rises_s: float) -> None:
    """Credit is added, and no answer says so: after ten minutes of silence it is found out.

    Where nothing rose the looks cost a refusal each, ever later.
    """
    low, high, pacer = Gcra(0.1, 1.0), TokenBucket(10, 10), Pacer(REMOTE, 0.0)
    words = Said(limits=(Limit(REQUESTS, 6.0, 60.0),), bucket=REQUESTS)

    def ask(load: Load, now_s: float) -> Asked:
        limiter = low if now_s < rises_s else high
        wait_s = limiter.wait_s(1, now_s)
        if wait_s > 0:
            said = words if limiter is low else None
            return Asked(refused=True, wait_s=math.ceil(wait_s), said=said)
        limiter.take(1, now_s)
        return Asked()

    run = drive(pacer, ask, 7200.0)
    if math.isinf(rises_s):
        assert run.rate(60.0, 7200.0) >= 0.95 * 0.1
        assert run.refused() <= 6
    else:
        assert run.rate(1200.0, 7200.0) >= 0.95 * 10.0


@pytest.mark.parametrize("burst_first", [True, False])
def test_of_two_windows_in_one_answer_the_slower_is_kept_to(burst_first: bool) -> None:
    """Twenty a second and three hundred a minute: in whichever order they are written."""
    parts = ['"burst";q=20;w=1', '"sustained";q=300;w=60']
    policy = ", ".join(parts if burst_first else reversed(parts))
    second, minute = FixedWindow(20, 1.0), FixedWindow(300, 60.0)

    def ask(load: Load, now_s: float) -> Asked:
        wait_s = max(second.wait_s(1, now_s), minute.wait_s(1, now_s))
        if wait_s > 0:
            return Asked(refused=True, wait_s=max(1.0, math.ceil(wait_s)))
        second.take(1, now_s)
        minute.take(1, now_s)
        return Asked()

    pacer = Pacer(Quota(concurrency=16, rate_start=2.0), 0.0)
    run = drive(pacer, ask, 600.0, says=lambda now_s: read_announced({"ratelimit-policy": policy}))
    assert pacer.rates[REQUESTS].told == 5.0
    assert run.rate(60.0, 600.0) >= 0.98 * 5.0
    assert run.refused() <= 5


def test_a_pinned_limit_is_used_where_answers_say_that_nothing_is_left() -> None:
    """After each call of a strict limit nothing is: what comes in until the next is there."""
    limiter = Gcra(10.0, 1)
    quota = Quota(concurrency=32, limits=(Limit(REQUESTS, 600.0, 60.0),), pinned=True)
    says = announced(limiter, lambda now_s: 600.0, 60.0)
    run = drive(Pacer(quota, 0.0), limited(limiter, lambda wait_s: wait_s), 400.0, says=says)
    assert run.rate(100.0, 400.0) >= 0.985 * 10.0


def test_a_told_rate_gets_its_margin_back() -> None:
    """Nine stray refusals cost six parts in a hundred, and not for the life of the process."""
    usual, strays = limited(TokenBucket(10, 10), lambda wait_s: wait_s), [300.0]

    def ask(load: Load, now_s: float) -> Asked:
        if now_s > strays[0] and strays[0] <= 780.0:
            strays[0] += 60.0
            return Asked(refused=True, wait_s=1.0)
        return usual(load, now_s)

    quota = Quota(concurrency=8, limits=(Limit(REQUESTS, 600.0, 60.0),), pinned=True)
    pacer = Pacer(quota, 0.0)
    run = drive(pacer, ask, 3000.0)
    assert run.rate(1500.0, 3000.0) >= 0.99 * 10.0
    assert run.refused(800.0) <= 3


def test_a_call_larger_than_a_told_limit_says_nothing_of_the_rate() -> None:
    """No bucket of that size ever lets it in: it is refused, and the others go on."""
    tokens = Dimension.TOKENS
    pacer = Pacer(Quota(concurrency=8, limits=(Limit(tokens, 30_000.0, 60.0),)), 0.0)
    large = Load(tokens=48_735)
    ticket = pacer.send(large, 0.0)
    refusal = Outcome(OutcomeKind.RATE_LIMITED, said=Said(bucket=tokens))
    pacer.end(ticket, refusal, 0.05)
    rate = pacer.rates[tokens]
    assert (rate.told, rate.strikes, rate.beyond, len(rate.empties)) == (500.0, 0, 0, 0)
    assert rate.paused_until_s == -math.inf


def _day(left: float, reset_s: float | None = None, amount: float = 1000.0) -> Outcome:
    limit = Limit(REQUESTS, amount, 86_400.0, left, reset_s)
    return Outcome(OutcomeKind.SUCCESS, said=Said(limits=(limit,)))


def test_what_answers_say_is_left_of_a_day_is_believed() -> None:
    """The provider's day begins at midnight, and not with our first call."""
    pacer = Pacer(REMOTE, 0.0)
    pacer.end(pacer.send(ONE_CALL, 0.0), _day(1.0), 0.5)
    pacer.end(pacer.send(ONE_CALL, 10.0), _day(0.0), 10.5)
    assert pacer.shut_s(11.0) == pytest.approx(3599.0, abs=1.0)  # one call looks after an hour
    pacer.end(pacer.send(ONE_CALL, 3700.0), _day(998.0), 3700.5)
    assert pacer.shut_s(3701.0) == 0.0
    pacer.end(pacer.send(ONE_CALL, 3800.0), _day(0.0, reset_s=7200.0), 3800.5)
    assert pacer.shut_s(3801.0) == pytest.approx(7199.5)


def test_a_day_that_grows_while_the_lane_runs_grows() -> None:
    """Of a thousand nothing is left, of ten thousand nine: the plan was upgraded."""
    pacer = Pacer(REMOTE, 0.0)
    pacer.end(pacer.send(ONE_CALL, 0.0), _day(0.0), 0.5)
    assert pacer.shut_s(1.0) > 0.0
    pacer.end(pacer.send(ONE_CALL, 3700.0), _day(9000.0, amount=10_000.0), 3700.5)
    assert pacer.shut_s(3701.0) == 0.0


def test_a_minute_in_the_same_answer_is_not_taken_for_the_day() -> None:
    """What is left of a day is no measure of what may be rushed into a minute."""
    pacer = Pacer(REMOTE, 0.0)
    both = (
        Limit(REQUESTS, 60.0, 60.0, 59.0),
        Limit(REQUESTS, 14_400.0, 86_400.0, 14_399.0),
    )
    pacer.end(pacer.send(ONE_CALL, 0.0), Outcome(OutcomeKind.SUCCESS, said=Said(limits=both)), 0.5)
    rate = pacer.rates[REQUESTS]
    assert (rate.told, rate.left_most, len(rate.longer)) == (1.0, 59.0, 1)


def test_a_window_that_counts_down_in_its_own_name_is_not_a_new_one_each_time() -> None:
    """A header whose window falls by a second with each answer fills no memory."""
    pacer = Pacer(REMOTE, 0.0)
    for number in range(300):
        limit = Limit(REQUESTS, 1000.0, 86_400.0 * 0.8**number + 3600.0, 900.0)
        outcome = Outcome(OutcomeKind.SUCCESS, said=Said(limits=(limit,)))
        pacer.end(pacer.send(ONE_CALL, float(number)), outcome, number + 0.5)
    assert len(pacer.rates[REQUESTS].longer) <= 4
