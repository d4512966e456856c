"""Windows that nobody tells of: how they are recognised, held to, and given up again."""

from __future__ import annotations

import random

import pytest

from bench.admission.cases import all_cases
from bench.lanes import one_run
from headrace.bucket import Bucket
from headrace.fitting import Moment
from headrace.frame import Frame
from headrace.framing import BORNE, PART, SLOTS, Framing
from headrace.limits import Dimension
from headrace.pace import RatePace
from headrace.phases import Mode
from headrace.simulator.limiters import FixedWindow, SlidingLog, TokenBucket
from headrace.simulator.rules import Change, LaneRules, Refused, Rule
from headrace.testing.lane_model import LaneModel
from headrace.trail import SPANS_MAX, WIDTHS_S, Trail
from headrace.windows import fixed, sliding
from tests.unit.lanes_drawn import REMOTE, exact, latency

PACE = 20.0


def untold(refused: Refused, now_s: float) -> float | None:
    """Name no wait."""
    return None


def calls_of(seed: int, count: int = 4000) -> list[float]:
    """Return when calls are sent whose pace changes all the time."""
    chance, at_s, found = random.Random(seed), 0.0, []
    for _ in range(count):
        at_s += chance.expovariate(5.0 * 4.0 ** chance.random())
        found.append(at_s)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_trail_knows_what_was_taken_in_the_seconds_before(seed: int) -> None:
    """For each width within 2 % and two calls of what a count by hand gives."""
    trail, calls = Trail(), calls_of(seed)
    for at_s in calls:
        trail.take(1.0, at_s)
    now_s = calls[-1]
    for width_s, counted in zip(WIDTHS_S, trail.before(now_s), strict=True):
        by_hand = sum(at_s > now_s - width_s for at_s in calls)
        assert abs(counted - by_hand) <= 2.0 + 0.02 * by_hand


def test_the_trail_of_a_fast_lane_stays_small() -> None:
    """Half a million calls in five minutes are kept in some hundred spans."""
    trail = Trail()
    for number in range(500_000):
        trail.take(1.0, number * 0.0006)
    assert sum(len(level) for level in trail.levels) <= SPANS_MAX * 14


def test_what_was_refused_is_no_part_of_the_trail() -> None:
    """A call that is taken back leaves the counts as if it had never been sent."""
    trail, twin = Trail(), Trail()
    for number in range(40):
        trail.take(1.0, number * 0.1)
        if number != 37:
            twin.take(1.0, number * 0.1)
    trail.untake(1.0, 3.7)
    assert trail.before(4.0) == twin.before(4.0)


def test_a_frame_lets_in_what_it_holds_and_no_more() -> None:
    """The next call fits when the oldest has left; what is taken back frees its place."""
    frame = Frame.over(3.0, 2.0, [(0.0, 1.0), (0.5, 1.0)])
    assert frame.wait_s(1.0, 1.0) == 0.0
    frame.take(1.0, 1.0)
    assert frame.wait_s(1.0, 1.0) == pytest.approx(1.0)
    assert frame.wait_s(2.0, 1.0) == pytest.approx(1.5)
    frame.take(-1.0, 1.0)
    assert frame.wait_s(1.0, 1.0) == 0.0
    assert frame.wait_s(9.0, 4.0) == 0.0  # larger than it holds: it goes alone


def _refusal(trail: Trail, at_s: float, opened_s: float | None = None) -> Moment:
    return Moment(at_s, 0.0, 0.0, 0.0, True, counts=trail.before(at_s), opened_s=opened_s)


def test_two_refusals_at_different_paces_show_a_sliding_window() -> None:
    """Of 50 in 5 s, filled by a rush and then slowly, the true width is possible, 1 s is not."""
    trail, sent = Trail(), []
    refusals = []
    for pace, until_s in ((40.0, 6.0), (8.0, 30.0)):
        at_s = sent[-1] + 1.0 if sent else 0.0
        while at_s < until_s:
            if sum(one > at_s - 5.0 for one in sent) >= 50:
                refusals.append(_refusal(trail, at_s))
                break
            sent.append(at_s)
            trail.take(1.0, at_s)
            at_s += 1.0 / pace
    assert len(refusals) == 2
    found = [one.width_s for one in sliding(refusals, 1.0, PACE)]
    assert 5.0 in found
    assert 1.0 not in found


def test_fixed_windows_are_known_by_their_openings() -> None:
    """40 in 4 s, filled at 20 and at 15 a second: openings and counts agree on 4 s."""
    trail, refusals = Trail(), []
    for begins_s, pace in ((4.0, 20.0), (8.0, 15.0)):
        for number in range(40):
            trail.take(1.0, begins_s + (number + 0.5) / pace)
        refusals.append(_refusal(trail, begins_s + 40.5 / pace, begins_s + 4.0))
    found = {one.width_s: one for one in fixed(refusals, 1.0, PACE)}
    assert found[4.0].least <= 40 <= found[4.0].most
    assert 2.0 not in found


def test_an_opening_that_was_hardly_seen_hides_no_window() -> None:
    """Of three openings one is known to two seconds only: the others still show 40 in 4 s."""
    trail, refusals = Trail(), []
    for begins_s, pace in ((4.0, 20.0), (8.0, 15.0), (12.0, 18.0)):
        for number in range(40):
            trail.take(1.0, begins_s + (number + 0.5) / pace)
        refusals.append(_refusal(trail, begins_s + 40.5 / pace, begins_s + 4.0))
    refusals[0].opened_s, refusals[0].open_off_s = 9.0, 1.0
    found = {one.width_s: one for one in fixed(refusals, 1.0, PACE)}
    assert found[4.0].least <= 40 <= found[4.0].most


def test_a_limit_that_goes_on_at_once_was_no_fixed_window() -> None:
    """What comes back within a slot is a bucket's: no fixed window is looked for."""
    trail = Trail()
    for number in range(80):
        trail.take(1.0, number / PACE)
    refusals = [_refusal(trail, at_s, at_s + 0.5 / PACE) for at_s in (2.0, 4.0)]
    assert list(fixed(refusals, 1.0, PACE)) == []


def test_two_refusals_with_an_opening_between_them_were_in_two_windows() -> None:
    """Openings a second apart are those of no window of a minute, though all counts agree."""
    trail = Trail()
    for number in range(60):
        trail.take(1.0, number / PACE)
    refusals = [_refusal(trail, at_s, at_s + 0.5) for at_s in (3.0, 4.0)]
    assert all(one.width_s <= 2.0 for one in fixed(refusals, 1.0, PACE))


def test_two_refusals_close_together_say_nothing_of_long_windows() -> None:
    """They were of the same calls but for a few, so that they agree whatever a minute holds."""
    trail = Trail()
    for number in range(400):
        trail.take(1.0, number / PACE)
    refusals = [_refusal(trail, 20.0)]
    for number in range(4):
        trail.take(1.0, 20.1 + number / PACE)
    refusals.append(_refusal(trail, 20.5))
    assert all(one.width_s <= 4.0 for one in sliding(refusals, 1.0, PACE))


def test_a_refusal_that_comes_late_was_no_acceptance() -> None:
    """It is taken out of all that was counted after its call, and of nothing before."""
    counts = (2.0,) * len(WIDTHS_S)
    before, after = Moment(1.0, 3.0, 0.0, 0.0), Moment(2.0, 9.0, 0.0, 0.0, counts=counts)
    bounds = Framing()
    bounds.moments.extend([before, after])
    bounds.correct(1.0, mark=5.0, sent_s=1.0)
    assert (before.refused, after.refused) == (0.0, 1.0)
    counted = dict(zip(WIDTHS_S, after.counts or (), strict=True))
    assert {counted[width_s] for width_s in WIDTHS_S if width_s < 1.0} == {2.0}
    assert {counted[width_s] for width_s in WIDTHS_S if width_s >= 1.0} == {1.0}


@pytest.mark.parametrize(
    ("limiter", "share"),
    [
        (SlidingLog(50, 5.0), 0.95),
        (SlidingLog(30, 10.0), 0.95),
        (SlidingLog(100, 5.0), 0.93),
        (FixedWindow(40, 4.0), 0.9),
        (FixedWindow(10, 1.0), 0.8),
    ],
)
def test_a_window_without_any_hint_is_used_within_a_minute(
    limiter: SlidingLog | FixedWindow, share: float
) -> None:
    """Nobody tells a wait; after 40 s the window is used to this share, and few are refused."""
    rules = LaneRules([Rule(Dimension.REQUESTS, limiter.copy())])
    run = LaneModel(rules, REMOTE, latency(0.5), 2500, hint=untold, names=True).run()
    rate = limiter.amount / limiter.window_s
    assert run.rate(40.0, run.accepts_s[-1]) >= share * rate
    assert run.refused_share(40.0) <= 0.013


def test_a_lane_that_was_shut_for_long_asks_later_the_next_time() -> None:
    """After 16 s without a word the first pause is a second, and no slot of a tenth of one."""
    rate = RatePace(bucket=Bucket(10.0, 1.0, 1.0, 0.0), mode=Mode.HOLD, away_s=16.0)
    marks = [rate.take(1.0, 0.1 * number, bound=True) for number in range(20)]
    rate.refused(1.0, marks[-1], 1.9, 1.92, None)
    assert rate.paused_until_s == pytest.approx(2.92)


def test_a_false_belief_does_not_stop_a_lane() -> None:
    """Though a frame would wait for a minute, a call goes after some slots and a part of it."""
    bounds = Framing(frame=Frame.over(10.0, 60.0, [(0.0, 10.0)]))
    waited_s = bounds.framed_s(1.0, 0.0, latest_s=0.0, pace=10.0)
    assert waited_s == pytest.approx(SLOTS / 10.0 + PART * 60.0)
    assert bounds.frame is not None
    bounds.frame_take(1.0, waited_s, pace=10.0)
    assert bounds.frame.units == 11.0  # unless it is refused, it holds that much


def test_a_trial_does_not_wait_for_a_window_that_may_be_none() -> None:
    """Though a window of two minutes is believed in, a pace is borne after 60 calls, not later."""
    rate = RatePace(bucket=Bucket(8.0, 1.0, 1.0, 0.0), lo=5.0, hi=20.0)
    rate.set_pace(10.0, Mode.TRIAL, 0.0)
    rate.frame = Frame.over(1e6, 120.0, [])
    for number in range(80):
        rate.take(1.0, 0.1 * number, bound=True)
        rate.look(0.1 * number)
    assert rate.pace > 10.0
    assert rate.lo == pytest.approx(BORNE * 10.0)


def test_a_height_that_was_held_is_remembered_through_looks_above_it() -> None:
    """A limit that halves for 25 s is used again soon after: a look does not make it forgotten."""
    rules = LaneRules(
        [Rule(Dimension.REQUESTS, TokenBucket(10, 10))], changes=[Change(45, 0.5, 70)]
    )
    run = LaneModel(rules, REMOTE, latency(0.6), 3000, hint=exact, names=True).run()
    assert run.rate(100.0, 200.0) >= 0.9 * 10
    assert run.refused_share() <= 0.02


def test_a_minute_of_which_nobody_tells_a_word_is_used_from_the_third_on() -> None:
    """300 calls a minute, fixed windows: 94 % is used, and what is refused meanwhile is 0.5 %.

    The first minute costs the lane all the refusals it can afford; a refusal in the second, long
    after the rush of the first, is no echo of that, and the third is measured from it.
    """
    case = next(one for one in all_cases() if one.name == "minute-fixed")
    for draw in range(1, 5):
        seen = one_run((case, draw))
        assert (seen.after.utilisation or 0.0) >= 0.94
        assert seen.after.refused_share <= 0.005
