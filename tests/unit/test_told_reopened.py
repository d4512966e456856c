"""Told windows whose waits nobody tells: found open again, and not taken for something else."""

from __future__ import annotations

import pytest

from headrace.fitting import Moment
from headrace.limits import Dimension, Limit, Quota
from headrace.pace import RatePace
from headrace.simulator.limiters import FixedWindow, Limiter, SlidingLog
from headrace.simulator.rules import LaneRules, Rule
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, latency, no_hint


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("amount", [120, 1200])
@pytest.mark.parametrize("kind", [SlidingLog, FixedWindow])
def test_a_told_minute_that_tells_no_wait_is_used(
    kind: type[Limiter], amount: int, told: bool
) -> None:
    """From the second minute on 98.5 % are used, told before the first call or by its answer."""
    limit = Limit(Dimension.REQUESTS, float(amount), 60.0)
    for seed in range(4):
        model = LaneModel(
            LaneRules([Rule(Dimension.REQUESTS, kind(amount, 60.0))]),
            Quota(64, (limit,)) if told else REMOTE,
            latency(0.3),
            4 * amount,
            hint=no_hint,
            late_s=0.003,
            seed=seed,
            announces="" if told else "start",
        )
        run = model.run()
        assert run.rate(61.0, 180.0) >= 0.985 * amount / 60.0
        assert run.refused_share(61.0) <= 0.002
        assert model.pacer.rates[Dimension.REQUESTS].told == amount / 60.0


def _filled(calls: int, took_s: float, shut_s: float) -> RatePace:
    """Return a rate told to be ten a second that a rush filled, and that opened so much later."""
    rate = RatePace()
    rate.tell(600.0, 60.0, 0.0, pinned=False)
    for number in range(calls):
        rate.take(1.0, number * took_s / calls, bound=True)
    here = Moment(took_s, float(calls), 0.0, 0.0, True, counts=rate.counted(took_s))
    rate.remember(here)
    rate.beyond = rate.strikes = 1
    rate.reopened(took_s + shut_s, took_s + shut_s)
    return rate


def test_a_window_that_opens_when_its_rush_has_left_may_slide() -> None:
    """It counts by windows, and that it was shut for so long speaks no more against its rate."""
    rate = _filled(600, 6.0, 54.05)
    assert (rate.windowed, rate.slides, rate.beyond, rate.strikes) == (True, 600.0, 0, 0)


def test_a_window_that_opens_sooner_is_fixed() -> None:
    """One that had begun before the rush: what was sent in it is no measure of the next."""
    rate = _filled(600, 6.0, 30.0)
    assert (rate.windowed, rate.slides, rate.beyond, rate.strikes) == (True, 0.0, 0, 0)


@pytest.mark.parametrize(("calls", "took_s", "shut_s"), [(60, 0.6, 5.0), (600, 6.0, 90.0)])
def test_what_was_shut_for_another_reason_is_no_window(
    calls: int, took_s: float, shut_s: float
) -> None:
    """Not full, or shut for longer than the window is: others use it, or it fell."""
    rate = _filled(calls, took_s, shut_s)
    assert (rate.windowed, rate.slides, rate.beyond, rate.strikes) == (False, 0.0, 1, 1)


def test_a_pause_ends_when_the_told_window_must_be_open() -> None:
    """Doubled to 40 s it would go on until 68 s after a rush that has left the window at 60."""
    rate = RatePace()
    rate.tell(600.0, 60.0, 0.0, pinned=False)
    rate.take(1.0, 0.0, bound=False)
    assert rate.until_open_s(40.0, 28.0, again=True) == pytest.approx(32.02)
    assert rate.until_open_s(16.0, 28.0, again=True) == 16.0
    assert rate.until_open_s(40.0, 70.0, again=True) == 40.0
