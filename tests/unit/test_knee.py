"""The width of a lane is found from latencies, also where calls hang or are never heard of."""

from __future__ import annotations

import math
from random import Random

import pytest

from headrace.knee import LOST_AFTER, SETTLED_EPOCHS, Width
from headrace.limits import Dimension, Limit, Quota
from headrace.simulator.limiters import TokenBucket
from headrace.simulator.rules import LaneRules, Rule
from headrace.testing.lane_model import LaneModel


def _epoch(width: Width, latency_s: float, lost: int = 0, failed: int = 0) -> None:
    """Let one epoch's calls go out at full width and end, some of them badly or not at all."""
    places = [width.send(int(width.cap))]
    epoch = width.epoch
    while width.epoch == epoch:
        assert width.sent < 1000, "the epoch does not end"
        places.append(width.send(int(width.cap)))
        if len(places) < width.cap:
            continue
        place = places.pop(0)
        number = place[1]
        if number <= lost:
            continue
        if number <= lost + failed:
            width.gone(place)
        else:
            width.ended(place, latency_s)


def _settled() -> Width:
    """A width of 8: twice as wide, calls took twice as long, twice, and then no longer."""
    width = Width(8.0)
    for latency_s in (0.5, 1.0, 1.0, 0.5):
        _epoch(width, latency_s)
    assert width.settled
    assert width.cap == 8.0
    return width


def test_a_lane_whose_first_calls_all_failed_widens_by_those_that_follow() -> None:
    """A sample of nothing but failures says nothing, and another one is taken."""
    width = Width(12.0)
    _epoch(width, 0.5, failed=6)
    assert width.cap == 12.0
    _epoch(width, 0.5)
    assert width.cap == 24.0


def test_calls_that_died_with_their_process_do_not_keep_a_lane_narrow() -> None:
    """The sample they were of is given up once much later calls have ended."""
    width = Width(12.0)
    _epoch(width, 0.5, lost=3)
    assert width.cap == 12.0
    _epoch(width, 0.5)
    assert width.cap == 24.0


def test_a_sample_is_not_given_up_for_calls_that_are_only_slow() -> None:
    """Calls that end long after those sent just behind them still count."""
    width = Width(12.0)
    places = [width.send(12) for _ in range(int(LOST_AFTER * width.sample))]
    for place in places[6:]:
        width.ended(place, 0.1)
    for place in places[:6]:
        width.ended(place, 3.0)
    assert width.latency_before_s == 3.0


def test_one_slow_sample_does_not_narrow_a_lane_and_two_do() -> None:
    """A call that hung, or a process that stood still, is no queue; what stays slow is one."""
    width = _settled()
    cap = width.cap
    _epoch(width, 5.0)
    assert width.cap == cap
    _epoch(width, 0.5)
    _epoch(width, 5.0)
    assert width.cap == cap
    _epoch(width, 5.0)
    assert width.cap < cap


def test_a_settled_lane_looks_wider_again_after_a_while() -> None:
    """Servers grow: after some epochs the width is doubled once more."""
    width = _settled()
    cap = width.cap
    for _ in range(SETTLED_EPOCHS - 1):
        _epoch(width, 0.5)
    assert width.cap == 2 * cap


def test_a_look_above_a_width_that_queued_is_judged_by_calls_that_found_it_full() -> None:
    """The first calls after it was doubled find an empty queue, and would have it doubled again."""
    width = _settled()
    for _ in range(SETTLED_EPOCHS - 1):
        _epoch(width, 0.5)
    assert width.cap == 16.0
    for in_flight in range(8, 16):
        width.ended(width.send(in_flight), 0.5)
    _epoch(width, 1.0)
    assert width.cap == 16.0
    _epoch(width, 1.0)
    assert width.cap == 8.0


def test_one_slow_sample_by_chance_does_not_end_the_widening() -> None:
    """Latencies vary: twice the latency at twice the width must be seen twice."""
    width = Width(8.0)
    _epoch(width, 0.5)
    _epoch(width, 1.0)
    assert width.cap == 16.0
    _epoch(width, 0.5)
    assert width.cap == 32.0


def test_a_lane_that_is_as_slow_when_narrower_is_widened_again() -> None:
    """Calls that take longer than they did stand in no queue; those that get quicker did."""
    for later_s, widened in ((2.0, True), (0.6, False)):
        width = _settled()
        _epoch(width, 2.0)
        _epoch(width, 2.0)
        assert width.cap < 8.0
        _epoch(width, later_s)
        assert (width.cap >= 8.0) == widened


@pytest.mark.parametrize("spread", [0.5, 0.8, 1.0])
def test_latencies_that_vary_do_not_narrow_a_lane(spread: float) -> None:
    """Answers of any length: 20 a second that take a second or a few are used to nine tenths."""
    rates = []
    for seed in range(12):
        rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(20, 40))])
        told = Quota(12, (Limit(Dimension.REQUESTS, 1200, 60.0),))

        def took_s(random: Random) -> float:
            return math.exp(random.gauss(0, spread))

        run = LaneModel(rules, told, took_s, 1800, seed=seed).run()
        rates.append(run.rate(20.0, 80.0))
    assert sorted(rates)[1] >= 0.9 * 20
