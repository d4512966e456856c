"""Refusals that no pace spares: a lane is not led down by them, and no lone lane invents them."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from statistics import median

import pytest

from headrace.bucket import Bucket
from headrace.leaping import LEAP, SURPRISES
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.pace import RatePace
from headrace.phases import Mode
from headrace.simulator.limiters import FixedWindow, Gcra, Limiter, SubWindow, TokenBucket
from headrace.simulator.rules import Admitted, Change, LaneRules, Refused, Rule
from headrace.strays import CALLS, QUIET_CALLS, Strays
from headrace.testing.lane_model import LaneModel, Told
from tests.unit.lanes_drawn import REMOTE, Hint, exact, latency, no_hint

STRAY = Refused(Dimension.REQUESTS, "429", 0.001)
"""What a provider without room says; who tells waits at all says to come back at once."""


class Overloaded(LaneRules):
    """A lane that refuses a share of all calls, whatever their pace, until a time."""

    share = 0.0
    until_s = math.inf
    chance = Random(0)

    def admit(self, load: Load, now_s: float, *, holds: bool = True) -> Admitted | Refused:
        """Refuse by lot, else by the limits."""
        if now_s < self.until_s and self.chance.random() < self.share:
            return STRAY
        return super().admit(load, now_s, holds=holds)


def overloaded(limiter: Limiter, share: float, seed: int) -> Overloaded:
    """Return a lane with a limit that refuses a share of all calls."""
    rules = Overloaded([Rule(Dimension.REQUESTS, limiter)])
    rules.share, rules.chance = share, Random(seed)
    return rules


def send(rules: LaneRules, hint: Hint, seed: int, quota: Quota = REMOTE) -> tuple[LaneModel, Told]:
    """Send for 200 s at most; returns the model and what it came to."""
    model = LaneModel(rules, quota, latency(0.4), 1500, hint=hint, seed=seed, until_s=200.0)
    return model, model.run()


def rate_of(model: LaneModel) -> RatePace:
    """Return the lane's rate of requests."""
    return model.pacer.rates[Dimension.REQUESTS]


@pytest.mark.parametrize("hint", [no_hint, exact])
@pytest.mark.parametrize("limiter", [lambda: TokenBucket(10, 60), lambda: Gcra(10, 2)])
def test_a_lane_is_not_led_down_by_refusals_that_no_pace_spares(
    hint: Hint, limiter: Callable[[], Limiter]
) -> None:
    """Where 3 calls in 100 are refused at any pace, half of the limit is used and more."""
    used, refused = [], []
    for seed in range(9):
        _, run = send(overloaded(limiter(), 0.03, seed), hint, seed)
        used.append(run.rate(60.0, run.end_s) / 10.0)
        refused.append(run.refused_share(60.0))
    assert median(used) >= 0.55
    assert median(refused) <= 0.08


def test_a_told_rate_is_used_although_some_calls_are_refused_at_any_pace() -> None:
    """What somebody told is not given up for nothing: two thirds of it are used on most draws."""
    quota = Quota(64, (Limit(Dimension.REQUESTS, 200, 10.0),), rate_start=2.0)
    used = []
    for seed in range(9):
        _, run = send(overloaded(TokenBucket(20, 120), 0.03, seed), no_hint, seed, quota)
        used.append(run.rate(40.0, run.end_s) / 20.0)
    assert median(used) >= 0.66


@pytest.mark.parametrize(
    "limiter",
    [
        lambda: TokenBucket(10, 60),
        lambda: Gcra(8, 1),
        lambda: Gcra(8, 3),
        lambda: FixedWindow(40, 4.0),
        lambda: SubWindow(600, 60, 1),
    ],
)
@pytest.mark.parametrize("hint", [no_hint, exact])
def test_a_limit_of_its_own_is_never_taken_for_strays(
    limiter: Callable[[], Limiter], hint: Hint
) -> None:
    """Alone at a limit of any kind, a leap shows that the pace was too fast."""
    for seed in range(4):
        model, _ = send(LaneRules([Rule(Dimension.REQUESTS, limiter())]), hint, seed)
        assert not rate_of(model).stray


def test_a_limit_that_halves_is_not_taken_for_strays() -> None:
    """The refusals of a fall come close to each other; the pace goes down to what is left."""
    for seed in range(6):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, TokenBucket(10, 10))], changes=[Change(60.0, 0.5)]
        )
        model, run = send(rules, exact, seed)
        assert not rate_of(model).stray
        assert run.refused_share(80.0) <= 0.03


def test_when_the_strays_have_gone_bounds_are_found_again() -> None:
    """An overload that ends leaves lanes that hold just below their limit, like any other.

    One that was led down before it was found out climbs for longer.
    """
    landed, rates = 0, []
    for seed in range(6):
        rules = overloaded(TokenBucket(10, 10), 0.05, seed)
        rules.until_s = 100.0
        model = LaneModel(rules, REMOTE, latency(0.4), 4000, hint=no_hint, seed=seed, until_s=400.0)
        run = model.run()
        rate = rate_of(model)
        landed += rate.strays.pace > 0.0
        assert not rate.stray
        assert run.refused_share(200.0) <= 0.02
        rates.append(run.rate(300.0, 400.0))
    assert sorted(rates)[1] >= 0.9 * 10.0
    assert landed  # some of them had been taken for strays


def refused_rate(wait_s: float | None = None) -> RatePace:
    """Return a rate that was refused three times at 10 a second, twenty calls apart."""
    rate = RatePace(bucket=Bucket(10.0, 1.0, 1.0, 0.0))
    rate.take(1.0, 0.0, True)
    now_s = 0.0
    for _ in range(SURPRISES):
        for _ in range(20):
            now_s += 0.1
            rate.take(1.0, now_s, True)
        rate.set_pace(10.0, Mode.HOLD, now_s)
        rate.leap(10.0, Mode.HOLD, now_s, wait_s)
    return rate


def test_three_surprises_are_followed_by_a_leap_and_long_waits_by_none() -> None:
    """Where a wait lets many calls come in, what comes after it shows nothing."""
    rate = refused_rate()
    assert (rate.leap_from, rate.pace) == (10.0, LEAP * 10.0)
    assert not refused_rate(wait_s=2.0).leap_from


def test_a_leap_that_is_refused_at_once_goes_back() -> None:
    """One refusal is what it costs, and the next leap waits for more surprises."""
    rate = refused_rate()
    assert rate.strayed(6.05, None)
    assert (rate.leap_from, rate.pace, rate.stray) == (0.0, 10.0, False)
    assert rate.due > SURPRISES


def test_a_limit_that_is_told_in_the_middle_of_a_leap_wins() -> None:
    """Headers that announce a limit end it: the told rate is what holds."""
    rate = refused_rate()
    rate.tell(50.0, 10.0, 6.0, pinned=False)
    rate.set_pace(5.0, Mode.GROW, 6.0)
    rate.look(6.1)
    assert rate.pace == 5.0
    assert not rate.strayed(6.2, None)
    assert not rate.leap_from


def epoch(strays: Strays, now_s: float, limit: float, share: float) -> float:
    """Let an epoch happen at a limit where a share of the calls are strays; returns its end."""
    came = min(strays.pace * (1.0 - share), limit)
    took_s = CALLS / strays.pace
    strays.calls = CALLS
    units = strays.units + came * took_s
    refused = strays.refused + CALLS - came * took_s
    assert strays.ended(units, refused, now_s + took_s, 0.0)
    return now_s + took_s


def test_the_pace_among_strays_climbs_to_the_limit_and_stays_there() -> None:
    """Doubled while as much more comes in, and within a quarter of the limit from then on."""
    strays, now_s = Strays(2.0, 1.0, 1.0, 3.0, 100.0), 0.0
    for _ in range(12):
        now_s = epoch(strays, now_s, 20.0, 0.03)
    for _ in range(60):
        now_s = epoch(strays, now_s, 20.0, 0.03)
        assert 0.75 * 20.0 <= strays.base <= 1.25 * 20.0


def test_the_pace_among_strays_follows_a_limit_that_falls() -> None:
    """More is refused than strays are: it goes down to what comes in, in a few epochs."""
    strays, now_s = Strays(20.0, 20.0, 19.0, 3.0, 100.0), 0.0
    for _ in range(8):
        now_s = epoch(strays, now_s, 5.0, 0.03)
    assert strays.base <= 1.25 * 5.0


def test_strays_are_forgotten_after_many_calls_without_one() -> None:
    """Three hundred calls and more at the base pace without a refusal end it."""
    rate = refused_rate()
    rate.leap_from, rate.stray = 0.0, True
    rate.strays = Strays(10.0, 10.0, 10.0, 1.0, 20.0, rest=100)
    rate.strays.begin(rate.sent, 0.0, 6.0)
    now_s = 6.0
    for _ in range(QUIET_CALLS + 100):
        now_s += 0.1
        rate.take(1.0, now_s, True)
        rate.look(now_s)
    assert not rate.stray
    assert 9.0 < rate.lo < rate.hi < math.inf
