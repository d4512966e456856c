"""Windows whose openings are told: in whole seconds, or to the split second."""

from __future__ import annotations

import pytest

from headrace.bucket import Bucket
from headrace.fitting import Moment, was_shut
from headrace.limits import Dimension, Limit, Quota
from headrace.pace import RatePace
from headrace.phases import Mode
from headrace.simulator.limiters import FixedWindow, Gcra, Limiter, SlidingLog, TokenBucket
from headrace.simulator.rules import LaneRules, Rule
from headrace.testing.lane_model import LaneModel, Told
from headrace.trail import Trail
from headrace.windows import sliding
from tests.unit.lanes_drawn import REMOTE, Hint, exact, latency, whole_seconds


def send(limiter: Limiter, items: int, hint: Hint, seed: int = 0) -> Told:
    """Send so many calls to a lane with that limit."""
    rules = LaneRules([Rule(Dimension.REQUESTS, limiter.copy())])
    return LaneModel(rules, REMOTE, latency(0.3), items, hint=hint, seed=seed).run()


@pytest.mark.parametrize(
    ("limiter", "rate"),
    [(SlidingLog(36, 2.7), 36 / 2.7), (SlidingLog(951, 6.3), 951 / 6.3)],
)
def test_windows_that_tell_whole_seconds_are_used(limiter: Limiter, rate: float) -> None:
    """After 40 s nine tenths of a limit are used, and one call in a hundred is refused at most."""
    run = send(limiter, round(100 * rate), whole_seconds)
    assert run.rate(40.0, run.accepts_s[-1]) >= 0.9 * rate
    assert run.refused_share(40.0) <= 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_bucket_that_tells_whole_seconds_is_no_window(seed: int) -> None:
    """Found well by two refusals, it is not looked for faster windows that may be."""
    run = send(TokenBucket(10, 20), 1000, whole_seconds, seed)
    assert run.rate(40.0, run.accepts_s[-1]) >= 9.7
    assert run.refused_share(40.0) <= 0.006


def test_a_rush_that_leaves_a_sliding_window_is_not_run_into() -> None:
    """Four thousand of a growing rush leave 38.7 s later, slowly first: the waits tell it.

    As many as leave are sent then, where each told wait was believed alone before, and at its
    end forty calls more were on their way.
    """
    run = send(SlidingLog(3988, 38.7), 9000, exact)
    assert run.refused_share() <= 0.015
    assert run.rate(60.0, 90.0) >= 0.9 * 3988 / 38.7


def _told(trail: Trail, at_s: float, wait_s: float) -> Moment:
    moment = Moment(at_s, 0.0, 0.0, 0.0, True, counts=trail.before(at_s))
    moment.tell(wait_s, at_s)
    return moment


def test_told_waits_say_how_wide_a_sliding_window_is() -> None:
    """504 in 38 s, filled in ten: one fits in when the first has left, no sooner, no later."""
    trail = Trail()
    for at_s in (0.0, 0.5, 1.0, 1.5, *(2.0 + 0.016 * number for number in range(500))):
        trail.take(1.0, at_s)
    filled = _told(trail, 10.0, 28.004)
    trail.take(1.0, 38.01)
    again = _told(trail, 38.015, 0.487)
    widths = [one.width_s for one in sliding([filled, again], 1.0, 50.0)]
    assert widths
    assert all(0.95 <= width_s / 38.0 <= 1.01 for width_s in widths)
    for one in (filled, again):
        one.told_s = None
    widths = [one.width_s for one in sliding([filled, again], 1.0, 50.0)]
    assert max(widths) > 2.0 * 38.0  # without a word it may as well be much longer


def test_no_bucket_is_shut_for_long() -> None:
    """At 20 a second it holds a call in a twentieth of one: two seconds told rule it out."""
    trail = Trail()
    trail.take(1.0, 0.0)
    assert not was_shut([_told(trail, 1.0, 0.05)], rate=20.0, cost=1.0)
    assert not was_shut([_told(trail, 1.0, 1.0)], rate=20.0, cost=1.0)  # rounded up
    assert was_shut([_told(trail, 1.0, 2.0)], rate=20.0, cost=1.0)
    assert not was_shut([_told(trail, 1.0, 2.0)], rate=1.0, cost=1.0)


def test_lanes_that_keep_no_counts_keep_no_openings_either() -> None:
    """The row of a lane that processes share does not grow by what is told."""
    moment = Moment(1.0, 0.0, 0.0, 0.0, True)
    moment.tell(2.5, 1.0)
    assert (moment.told_s, moment.opened_s, moment.exact) == (3.5, None, False)


def test_a_look_that_is_refused_at_once_leaves_the_bounds_as_they_were() -> None:
    """Of a strict limit the burst lets two calls through: that is no sign of a higher one."""
    rate = RatePace(bucket=Bucket(10.0, 1.0, 1.0, 0.0), lo=9.9, hi=10.1)
    rate.set_pace(10.0, Mode.HOLD, 0.0)
    for number in range(200):
        rate.take(1.0, 0.1 * number, bound=True)
        rate.allowance = 4.0
        if rate.look(0.1 * number):
            break
    assert rate.mode is Mode.PROBE
    rate.virtual = Bucket(10.1, 4.0, 4.0, rate.phase_s)
    at_s = rate.phase_s
    for _ in range(3):
        at_s += 1.0 / rate.pace
        mark = rate.take(1.0, at_s, bound=True)
    rate.refused(1.0, mark, at_s, at_s + 0.01, 1.0)
    assert (rate.mode, rate.hi) == (Mode.HOLD, pytest.approx(10.1))
    assert 9.8 <= rate.lo < rate.pace < 10.1


@pytest.mark.parametrize("limiter", [SlidingLog(100, 10.0), FixedWindow(100, 10.0)])
def test_a_told_window_is_used_by_a_machine_that_is_late(limiter: Limiter) -> None:
    """Calls leave up to 12 ms late, of slots of 100: a window bears that they are made up for."""
    rules = LaneRules([Rule(Dimension.REQUESTS, limiter)])
    quota = Quota(64, (Limit(Dimension.REQUESTS, 100.0, 10.0),))
    run = LaneModel(rules, quota, latency(0.3), 1500, hint=exact, late_s=0.012).run()
    assert run.rate(20.0, 140.0) >= 0.99 * 10.0
    assert run.refused_share(20.0) <= 0.002


def test_a_strict_limit_that_tells_whole_seconds_is_not_looked_above_in_vain() -> None:
    """Each refusal costs a second: 23 a second, two at once, are used to nine tenths."""
    run = send(Gcra(23.2, 2), 2300, whole_seconds, seed=1)
    assert run.rate(40.0, run.accepts_s[-1]) >= 0.9 * 23.2


@pytest.mark.parametrize("late_s", [0.001, 0.012])
def test_what_a_pause_lost_of_a_sliding_window_is_made_up_for(late_s: float) -> None:
    """A hundred in ten seconds: the ten after the first rush hold as many, hardly one refused."""
    rules = LaneRules([Rule(Dimension.REQUESTS, SlidingLog(100, 10.0))])
    quota = Quota(64, (Limit(Dimension.REQUESTS, 100.0, 10.0),))
    for seed in range(4):
        run = LaneModel(
            rules.copy(), quota, latency(0.3), 700, hint=exact, late_s=late_s, seed=seed
        ).run()
        first_s = run.accepts_s[0]
        assert run.rate(first_s + 10.0, first_s + 20.0) >= 9.9
        assert run.rate(first_s + 20.0, first_s + 60.0) >= 9.9
        assert len([at_s for at_s in run.refusals_s if at_s >= first_s + 10.0]) <= 1


def _rate(calls: int, took_s: float, window_s: float) -> tuple[RatePace, Moment]:
    """Return a rate told to be ten a second that was refused after a rush, and when that was."""
    rate = RatePace(window_s=window_s)
    rate.tell(600.0, 60.0, 0.0, pinned=False)
    for number in range(calls):
        rate.take(1.0, number * took_s / calls, bound=True)
    here = Moment(took_s, float(calls), 0.0, 0.0, True, counts=rate.counted(took_s))
    return rate, here


def test_a_window_that_opens_too_soon_does_not_slide() -> None:
    """120 in four seconds that are let in again after two more: they began before the rush."""
    rate, here = _rate(120, 4.0, window_s=6.0)
    assert rate.sees_sliding(here) == 0.0
    rate, here = _rate(120, 4.0, window_s=12.0)
    assert rate.sees_sliding(here) == 120.0


def test_few_calls_show_no_sliding_window() -> None:
    """Three calls agree with a rate by chance."""
    rate, here = _rate(3, 0.1, window_s=0.3)
    assert rate.sees_sliding(here) == 0.0


def test_a_call_that_left_late_leaves_the_window_late() -> None:
    """What is counted is when it came, not when it should have."""
    rate, _ = _rate(100, 4.0, window_s=10.0)
    rate.slides = 100.0
    rate.margin = 0.0
    rate.hold_frame(10.0, 4.0)
    assert rate.frame is not None
    rate.take(61.0, 20.0, bound=True)
    for _ in range(39):
        rate.take(1.0, 20.5, bound=True)
    assert rate.frame.wait_s(1.0, 21.0) == pytest.approx(9.0, abs=0.01)
    rate.frame_moved(20.0, 20.25)
    assert rate.frame.wait_s(1.0, 21.0) == pytest.approx(9.25, abs=0.01)
    trail = rate.trail
    assert trail is not None
    assert (20.25, 61.0) in trail.since(20.1)


def test_what_calls_give_back_is_not_held_to_a_window() -> None:
    """A window counts what calls take; where they use less it would hold too much back."""
    rate, _ = _rate(100, 4.0, window_s=10.0)
    rate.slides, rate.windowed = 100.0, True
    rate.set_pace(9.97, Mode.HOLD, 4.0)
    assert rate.frame is not None
    rate.give_back(1.0, 0.5, 4.0, 5.0)
    assert rate.frame is None
    rate.set_pace(9.97, Mode.HOLD, 6.0)
    assert rate.frame is None
