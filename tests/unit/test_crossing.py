"""A strict limit that others cross: refusals that a slower pace would not spare."""

from __future__ import annotations

import math

import pytest

from headrace.bucket import Bucket
from headrace.crossing import CALM_CALLS, SLOWER, TEST_EVERY
from headrace.limits import ONE_CALL, Dimension
from headrace.outcome import Outcome, OutcomeKind
from headrace.pace import RatePace
from headrace.pacing import Pacer
from headrace.phases import Mode
from headrace.simulator.limiters import FixedWindow, Gcra, TokenBucket
from headrace.simulator.rules import LaneRules, OtherTenant, Rule
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, exact, latency


def rate_at(pace: float) -> RatePace:
    """Return a rate that holds a pace of so many calls a second, one call sent."""
    rate = RatePace(bucket=Bucket(pace, 1.0, 1.0, 0.0))
    rate.take(1.0, 0.0, True)
    rate.set_pace(pace, Mode.HOLD, 0.0)
    return rate


def brush(rate: RatePace, paces: list[float], share: float) -> list[bool]:
    """Let a rate be refused at each of some paces, with a told wait of a share of its slot."""
    found = []
    for pace in paces:
        rate.set_pace(pace, Mode.HOLD, 1.0)
        found.append(rate.brushed(1.0, share / pace, 1.0))
    return found


def crossed_rate() -> RatePace:
    """Return a rate that was found to be crossed by others, at 8 calls a second."""
    rate = rate_at(8.0)
    assert brush(rate, [8.0, 4.0, 2.0], 0.01) == [False, False, True]
    return rate


def send_calm(rate: RatePace, calls: int, now_s: float) -> None:
    """Send so many calls that the pace held back and nobody refused."""
    for call in range(calls):
        rate.take(1.0, now_s + 0.01 * call, True)
        rate.look(now_s + 0.01 * call)


def test_tiny_waits_at_ever_lower_paces_bring_back_the_highest_of_them() -> None:
    """Refused for a hundredth of a slot at 8, 4 and 2 calls a second, 8 was not too fast."""
    rate = crossed_rate()
    assert rate.crossed
    assert rate.pace == 8.0


@pytest.mark.parametrize(
    ("paces", "share"), [([8.0, 7.6, 7.3, 7.0, 6.7], 0.001), ([8.0, 4.0, 2.0], 0.4)]
)
def test_waits_that_one_limit_explains_are_bounds(paces: list[float], share: float) -> None:
    """Small steps down, or waits as long as a pace too fast has them, are not others' doing."""
    assert not any(brush(rate_at(8.0), paces, share))


def test_a_wait_that_is_no_part_of_a_slot_ends_it() -> None:
    """A refusal without a wait, or with one longer than a slot, is learned from as ever."""
    for wait_s in (None, 1.0):
        rate = crossed_rate()
        assert not rate.brushed(1.0, wait_s, 2.0)
        assert not rate.crossed


def test_a_long_wait_lowers_the_pace_and_a_short_one_raises_it() -> None:
    """The pace of a crossed rate goes to where waits are a sixth of a slot."""
    rate = crossed_rate()
    assert rate.brushed(1.0, 0.9 / 8.0, 2.0)
    slower = rate.pace
    assert slower < 8.0 * 0.3
    assert rate.brushed(1.0, 0.0001, 3.0)
    assert slower < rate.pace <= slower * 1.18


def test_calm_at_a_slower_pace_shows_a_bound_and_a_refusal_there_none() -> None:
    """From time to time the pace is lowered: only if refusals end there was it too fast."""
    for refused in (True, False):
        rate = crossed_rate()
        for _ in range(TEST_EVERY):
            before = rate.pace
            assert rate.brushed(1.0, 0.125 / rate.pace, 2.0)
        assert rate.pace == pytest.approx(SLOWER * before)
        if refused:
            assert rate.brushed(1.0, 0.001, 3.0)
            assert rate.crossed
            assert rate.pace >= before
        else:
            send_calm(rate, CALM_CALLS, 3.0)
            assert not rate.crossed
            assert SLOWER * before <= rate.pace < rate.hi < math.inf


def test_whole_seconds_are_no_measure_of_a_slot() -> None:
    """A wait of 1 s is rounded up: at a call in ten seconds any would be a brush."""
    rate = rate_at(0.4)
    slow = [0.4, 0.2, 0.1, 0.06]
    for pace in slow:
        rate.bucket.rate = pace
        assert not rate.brushed(1.0, 1.0, 1.0)
    assert not rate.crossed
    assert not rate.brushes


def test_calm_raises_the_pace_of_a_crossed_rate() -> None:
    """When nobody crosses for a while, the pace goes up without waiting for a refusal."""
    rate = crossed_rate()
    send_calm(rate, CALM_CALLS, 2.0)
    assert rate.pace == pytest.approx(9.0)


def test_what_others_refuse_costs_the_lane_no_credit() -> None:
    """A refusal that no pace would spare does not keep a lane from looking up later."""
    pacer = Pacer(REMOTE, 0.0)
    ticket = pacer.send(ONE_CALL, 0.0)
    pacer.rates[Dimension.REQUESTS] = rate = crossed_rate()
    before = pacer.credit.left
    pacer.end(ticket, Outcome(OutcomeKind.RATE_LIMITED, wait_s=0.001), 5.0)
    assert rate.crossed
    assert pacer.credit.left == before


def test_a_lane_that_others_cross_is_not_led_down_to_nothing() -> None:
    """Where others take half of a strict limit at random, a lane has a third of the rest.

    When it is found out is a matter of luck: of eight draws one may have less, down to a quarter.
    """
    rates = []
    for seed in range(8):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, Gcra(24, 2))], other=OtherTenant(12.0, seed=seed)
        )
        model = LaneModel(rules, REMOTE, latency(0.2), 900, hint=exact, seed=seed, until_s=240.0)
        run = model.run()
        rates.append(run.rate(60.0, run.end_s))
    assert sorted(rates)[1] >= 12.0 / 3
    assert min(rates) >= 12.0 / 4


def test_who_names_waits_that_are_too_short_drives_no_lane_up() -> None:
    """Alone at a limit that names a thousandth of a second for any wait, few calls are refused."""
    for limiter in (TokenBucket(10, 10), FixedWindow(20, 2.0)):
        rules = LaneRules([Rule(Dimension.REQUESTS, limiter)])
        model = LaneModel(rules, REMOTE, latency(0.2), 1500, hint=lambda refused, now_s: 0.001)
        model.seed = 1
        run = model.run()
        assert model.pacer.rates[Dimension.REQUESTS].untested == TEST_EVERY  # it was driven
        assert run.refused_share(60.0) <= 0.03
        assert run.rate(60.0, run.end_s) >= 0.8 * 10


def test_waits_that_were_too_short_twice_are_not_believed_again() -> None:
    """A rate that stood still for most of the time of its brushes is barred after two times."""
    rate = rate_at(8.0)
    for time in (1, 2):
        assert brush(rate, [8.0, 4.0, 2.0], 0.01) == [False, False, True]
        rate.idle_s += 10.0
        found = [rate.brushed(1.0, 0.01, 2.0 + 0.1 * number) for number in range(TEST_EVERY)]
        assert found == [True] * (TEST_EVERY - 1) + [False]
        assert (rate.crossed, rate.doubts) == (False, time)
    assert brush(rate, [8.0, 4.0, 2.0], 0.01) == [False, False, False]


@pytest.mark.parametrize("limiter", [Gcra(8, 1), Gcra(8, 3), TokenBucket(8, 20)])
def test_a_lane_alone_is_never_taken_for_one_that_others_cross(
    limiter: Gcra | TokenBucket,
) -> None:
    """Alone on a strict limit or a bucket, no told wait is mistaken for somebody else's doing."""
    for seed in range(3):
        rules = LaneRules([Rule(Dimension.REQUESTS, limiter)]).copy()
        model = LaneModel(rules, REMOTE, latency(0.3), 500, hint=exact, seed=seed)
        model.run()
        rate = model.pacer.rates[Dimension.REQUESTS]
        assert (rate.crossed, rate.untested) == (False, 0)
