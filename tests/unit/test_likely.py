"""Windows that nobody tells of, begun at any moment: which are likely, and when they open."""

from __future__ import annotations

from random import Random

import pytest

from headrace.fitting import Moment
from headrace.framing import Framing
from headrace.likely import Likely, likely, opening_s, within
from headrace.limits import Dimension, Quota
from headrace.simulator.limiters import FixedWindow, Limiter, SlidingLog
from headrace.simulator.rules import LaneRules, Rule
from headrace.testing.lane_model import LaneModel, Told
from headrace.trail import Trail
from headrace.windows import Window
from tests.unit.lanes_drawn import latency

QUOTA = Quota(concurrency=12, rate_start=2.0)


def send(limiter: Limiter, items: int, seed: int = 0) -> Told:
    """Send so many calls to a lane that refuses without a word."""
    rules = LaneRules([Rule(Dimension.REQUESTS, limiter)])
    lane = LaneModel(rules, QUOTA, latency(0.4), items, hint=lambda *_: None, seed=seed)
    return lane.run()


@pytest.mark.parametrize("begun_s", range(0, 60, 6))
def test_a_minute_is_used_whenever_it_begins(begun_s: int) -> None:
    """From its third on 94 % of windows of 300 a minute, of which nobody tells a word, are used.

    The one under way when a lane begins may have begun at any second before.
    """
    run = send(FixedWindow(300, 60.0, begun_s + 0.5), 3000, seed=begun_s)
    assert run.rate(begun_s + 120.5, begun_s + 480.5) >= 0.94 * 5.0
    assert run.refused_share() <= 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_sliding_minute_is_used_as_well(seed: int) -> None:
    """It opens by as many calls as went a minute before: one at first, not all of them."""
    run = send(SlidingLog(300, 60.0), 3000, seed)
    assert run.rate(180.0, run.accepts_s[-1]) >= 0.94 * 5.0
    assert run.refused_share() <= 0.01


@pytest.mark.parametrize("width_s", [10.0, 20.0, 30.0])
def test_what_was_taken_for_a_minute_is_found_to_be_shorter(width_s: float) -> None:
    """After five minutes nine tenths of a window are used that is not of the likeliest width."""
    run = send(FixedWindow(8 * width_s, width_s, 0.7 * width_s), 4000)
    assert run.rate(300.0, run.accepts_s[-1]) >= 0.9 * 8.0


def remembered(limiter: Limiter, pace: float, rushes: int) -> list[Moment]:
    """Return the moments of a lane that is sent to at a pace, and asked now and then when shut."""
    trail, now_s, found = Trail(), 0.0, [Moment(0.0, 0.0, 0.0, 0.0, counts=Trail().before(0.0))]
    for rush in range(rushes):
        while limiter.wait_s(1.0, now_s) <= 0:
            limiter.take(1.0, now_s)
            trail.take(1.0, now_s)
            now_s += 1.0 / (pace * (1.0 + rush))
        here = Moment(now_s, 0.0, 0.0, 0.0, True, counts=trail.before(now_s))
        found.append(here)
        shut_s, pause_s = now_s, 0.05
        while limiter.wait_s(1.0, now_s) > 0:
            shut_s, now_s, pause_s = now_s, now_s + pause_s, 2.0 * pause_s
        here.opened_s = 0.5 * (shut_s + now_s)
        here.open_off_s = now_s - here.opened_s
    return found


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
@pytest.mark.parametrize("seed", range(20))
def test_what_is_true_is_among_what_is_likely(kind: str, seed: int) -> None:
    """A window of a usual width is never ruled out by what it did itself."""
    random = Random(f"{kind}/{seed}")
    width_s, amount = random.choice((5.0, 10.0, 20.0, 30.0, 60.0)), random.randint(30, 400)
    pace = random.uniform(2.0, 6.0) * amount / width_s
    begun_s = random.uniform(0.0, width_s)
    limiter = (
        FixedWindow(amount, width_s, begun_s) if kind == "fixed" else SlidingLog(amount, width_s)
    )
    found = likely(remembered(limiter, pace, random.randint(1, 4)), 1.0, pace)
    here = [one for one in found if one.window.width_s == width_s]
    assert here
    # A window that opens while the first rush goes on lets more in than it holds.
    assert any(0.9 * amount <= one.window.most <= 2.0 * amount + 1.0 for one in here)
    assert [one.window.rate for one in found] == sorted(one.window.rate for one in found)


def test_a_minute_is_likelier_than_what_nobody_uses() -> None:
    """Two refusals leave every width from 52 to 69 s open: of them it is the minute."""
    moments = remembered(FixedWindow(300, 60.0, 45.0), 30.0, 2)
    found = likely(moments, 1.0, 30.0)
    middle = within(found, 0.4, 0.6)
    assert middle
    assert all(4.8 <= one.rate <= 5.2 for one in middle)


def test_nothing_is_likely_where_no_window_explains_it() -> None:
    """Fifty in all, or five hundred: no window holds both."""
    trail, moments = Trail(), []
    for at_s, calls in ((10.0, 50), (80.0, 500), (150.0, 50)):
        for number in range(calls):
            trail.take(1.0, at_s + number / 100.0)
        end_s = at_s + 5.5
        moments.append(Moment(end_s, 0.0, 0.0, 0.0, True, counts=trail.before(end_s)))
        moments[-1].opened_s = end_s + 20.0
    assert likely(moments, 1.0, 100.0) == []
    assert likely(moments[:0], 1.0, 100.0) == []


def test_a_limit_is_asked_when_it_is_likely_to_be_open() -> None:
    """At each question the moments that have passed are no longer asked about."""
    opens = ((10.0, 1.0), (20.0, 1.0), (30.0, 3.0), (60.0, 5.0))
    asked, now_s = [], 0.0
    while (at_s := opening_s(opens, now_s)) is not None:
        asked.append(at_s)
        now_s = at_s
    assert asked == [30.0, 60.0]
    assert opening_s((), 0.0) is None


def test_what_is_left_out_at_the_edges_is_the_least_likely() -> None:
    """Of four windows that are equally likely the inner two lie between a third and two."""
    four = [Likely(Window(60.0, 60.0 * n, 60.0 * n), 1.0, 0.0) for n in (1, 2, 3, 4)]
    assert [one.rate for one in within(four, 0.3, 0.7)] == [2.0, 3.0]
    assert [one.rate for one in within(four, 0.0, 1.0)] == [1.0, 2.0, 3.0, 4.0]


def test_a_pause_ends_a_minute_after_the_refusal() -> None:
    """Doubled once more it would last 51 s, when every window of a minute is open after nine."""
    rate = Framing()
    rate.empties.append(Moment(11.7, 0.0, 0.0, 0.0, True))
    assert rate.until_open_s(51.2, 63.1, again=True) == pytest.approx(9.1)
    assert rate.until_open_s(6.4, 18.1, again=True) == 6.4
    assert rate.until_open_s(51.2, 80.0, again=True) == 51.2
    assert rate.until_open_s(51.2, 63.1, again=False) == 51.2


def test_what_was_sent_after_a_refused_call_was_not_taken_before_it() -> None:
    """A refusal is heard of 30 ms later: at 100 a second three calls went meanwhile."""
    trail = Trail()
    for number in range(103):
        trail.take(1.0, 0.01 * number)
    assert trail.before(0.995)[-1] == 100.0
    assert trail.before(2.0)[-1] == 103.0


def test_a_refused_call_counts_with_what_it_would_have_taken() -> None:
    """Fifty did not fit in beside sixty, eight not beside ninety: the window may hold 95."""
    trail, moments = Trail(), []
    for at_s, taken, cost in ((5.0, 60.0, 50.0), (65.0, 90.0, 8.0)):
        trail.take(taken, at_s)
        moments.append(Moment(at_s + 1.0, 0.0, 0.0, 0.0, True, counts=trail.before(at_s + 1.0)))
        moments[-1].cost, moments[-1].opened_s, moments[-1].open_off_s = cost, at_s + 8.0, 2.0
    found = [one.window for one in likely(moments, 8.0, 10.0) if one.window.width_s == 20.0]
    assert found
    assert all(90.0 <= one.least <= one.most <= 98.0 for one in found)
    for one in moments:
        one.cost = None
    assert all(one.window.width_s != 20.0 for one in likely(moments, 8.0, 10.0))
