"""Told rates: strict ones that bear no hurry, and ones that were given up too soon."""

from __future__ import annotations

import pytest

from headrace.fitting import Moment
from headrace.limits import Dimension, Limit, Quota
from headrace.pace import RatePace
from headrace.phases import Mode
from headrace.simulator.limiters import Gcra
from headrace.simulator.rules import LaneRules, Rule
from headrace.telling import ROOMY_LOOKS
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, Hint, exact, latency, whole_seconds

TWENTY = Quota(64, (Limit(Dimension.REQUESTS, 1200.0, 60.0),))


def strict() -> LaneRules:
    """Twenty a second, and not two at once."""
    return LaneRules([Rule(Dimension.REQUESTS, Gcra(20, 1))])


@pytest.mark.parametrize("hint", [exact, whole_seconds, lambda refused, now_s: None])
@pytest.mark.parametrize("seed", range(3))
def test_a_told_strict_limit_is_not_given_up_for_our_own_hurry(hint: Hint, seed: int) -> None:
    """Calls leave up to 3 ms late, of slots of 50: what is made up for is at fault."""
    model = LaneModel(strict(), TWENTY, latency(0.3), 2000, hint=hint, late_s=0.003, seed=seed)
    run = model.run()
    rate = model.pacer.rates[Dimension.REQUESTS]
    assert rate.told == 20.0
    assert run.rate(20.0, run.accepts_s[-1]) >= 0.95 * 20.0
    assert run.refused_share(20.0) <= 0.002


@pytest.mark.parametrize("hint", [exact, whole_seconds])
def test_no_more_is_saved_up_than_an_answer_ever_said_was_left(hint: Hint) -> None:
    """A strict limit says that one is left at most: no twenty go at once after a pause."""
    model = LaneModel(
        strict(), REMOTE, latency(0.3), 1000, hint=hint, late_s=0.003, announces="end"
    )
    run = model.run()
    assert run.refused_share() <= 0.01
    assert run.rate(20.0, run.accepts_s[-1]) >= 0.95 * 20.0


def _given_up() -> RatePace:
    rate = RatePace(told_before=10.0)
    rate.tell(600.0, 60.0, 0.0, pinned=False)
    rate.told = None
    rate.left(100.0, 0.0, rushing=False)
    return rate


@pytest.mark.parametrize(("left", "looks"), [(90.0, True), (40.0, False)])
def test_a_lane_looks_up_where_answers_say_that_half_is_left(left: float, looks: bool) -> None:
    """At a sixth of what was told it would hold for minutes, for it was refused in a row before."""
    rate = _given_up()
    rate.lo, rate.hi, rate.probe_after_s = 1.5, 1.6, 1e9
    rate.set_pace(1.5, Mode.HOLD, 0.0)
    for number in range(100):
        rate.take(1.0, number / 1.5, bound=True)
        rate.left(left, number / 1.5, rushing=False)
        if rate.look(number / 1.5):
            break
    assert (rate.mode is Mode.PROBE) == looks
    assert (rate.pace >= 0.9 * 10.0) == looks


def test_a_window_that_has_just_opened_is_not_roomy() -> None:
    """Fixed windows of a hundred at their limit say again and again that more than half is left."""
    rate = _given_up()
    for number in range(1000):
        rate.take(1.0, 0.1 * number, bound=True)
        rate.left(99.0 - number % 100, 0.1 * number, rushing=False)
        assert not rate.is_roomy(0.1 * number)


def test_where_half_is_left_for_as_long_as_the_told_window_there_is_room() -> None:
    """At a sixtieth of a told rate it takes an hour to send six tenths of the limit."""
    rate = _given_up()
    for number, left, roomy in ((0, 40.0, False), (9, 90.0, False), (18, 90.0, True)):
        rate.take(1.0, 1.0 + number / 0.3, bound=True)
        rate.left(left, 1.0 + number / 0.3, rushing=False)
        assert rate.is_roomy(1.0 + number / 0.3) is roomy


def test_who_has_room_and_refuses_a_look_is_not_asked_a_third_time() -> None:
    """Headers that state too much do not lead a lane up for ever."""
    rate = _given_up()
    for number in range(61):
        rate.take(1.0, float(number), bound=True)
        rate.left(90.0, float(number), rushing=False)
    assert rate.is_roomy(60.0)
    rate.roomy_looks = ROOMY_LOOKS
    assert not rate.is_roomy(60.0)


def test_a_rush_is_no_hurry() -> None:
    """Where more was let in at once than a strict limit bears, a refusal is about the rate."""
    for calls, expected in ((1, True), (30, False)):
        rate = RatePace(late_s=0.005)
        rate.tell(1200.0, 60.0, 0.0, pinned=False)
        rate.mode = Mode.HOLD
        for number in range(calls):
            rate.take(1.0, 0.001 * number, bound=True)
        at_s = 0.001 * calls + 0.045
        here = Moment(at_s, float(calls), 0.0, 0.0, True, 0.045, counts=rate.counted(at_s))
        assert rate.hurried(1.0, here, 0.004) is expected
        assert rate.late_s == (0.00125 if expected else 0.005)


def test_a_wait_that_is_longer_than_we_were_late_is_no_hurry() -> None:
    """Nor is a call that kept its distance, or whose lateness was next to nothing of a slot."""
    rate = RatePace(late_s=0.005)
    rate.tell(1200.0, 60.0, 0.0, pinned=False)
    near = Moment(1.0, 1.0, 0.0, 0.0, True, 0.045, counts=rate.counted(1.0))
    assert not rate.hurried(1.0, near, 0.03)
    assert not rate.hurried(1.0, Moment(1.0, 1.0, 0.0, 0.0, True, 0.05, counts=near.counts), 0.001)
    rate.late_s = 0.001
    assert not rate.hurried(1.0, near, 0.001)
    rate.late_s = 0.005
    assert rate.hurried(1.0, near, 0.003)
