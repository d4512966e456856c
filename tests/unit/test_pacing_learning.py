"""What a lane makes of its first refusals, of late calls, and of limits that are not to be had."""

from __future__ import annotations

import math
from statistics import mean

import pytest

from headrace.bucket import Bucket
from headrace.knee import PROBE_CALLS, Width
from headrace.learned import learned_of
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.pace import RatePace
from headrace.pacing import Pacer
from headrace.phases import Mode
from headrace.simulator.limiters import FixedWindow, Gcra, SlidingLog, TokenBucket
from headrace.simulator.rules import Change, LaneRules, OtherTenant, Rule
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, exact, latency

SUCCESS = Outcome(OutcomeKind.SUCCESS)


@pytest.mark.parametrize("kind", [FixedWindow, SlidingLog])
def test_a_hidden_limit_of_tokens_knows_what_went_before(kind) -> None:  # type: ignore[no-untyped-def]
    """The first refusal for tokens counts all that was accepted, not the refused call alone."""
    rules = LaneRules([Rule(Dimension.TOKENS, kind(300_000, 15.0))])
    model = LaneModel(
        rules, REMOTE, latency(0.3), 3000, load=Load(tokens=500), hint=exact, names=True
    )
    run = model.run()
    assert run.done == 3000
    assert run.rate(60, run.accepts_s[-1]) >= 0.85 * 40


def test_a_hidden_limit_of_tokens_is_not_taken_for_a_shared_one() -> None:
    """Calls of 150 to 850 tokens: what one of them is refused for bounds no other."""
    rates = []
    for seed in range(8):
        rules = LaneRules([Rule(Dimension.TOKENS, TokenBucket(5000, 30_000))])
        hidden = Quota(concurrency=12, rate_start=2.0)
        model = LaneModel(rules, hidden, latency(0.5), 900, hint=exact, names=True, seed=seed)
        model.tokens = (150, 850)
        run = model.run()
        assert run.refused_share(40.0) <= 0.005
        assert not model.pacer.rates[Dimension.TOKENS].is_noisy
        rates.append(run.rate(40.0, run.end_s - 2.0))
    assert mean(rates) >= 0.98 * 10


def test_what_was_only_counted_is_not_remembered_as_a_limit() -> None:
    """Calls with tokens that nobody limits leave no rate of tokens behind."""
    pacer = Pacer(REMOTE, 0.0)
    pacer.end(pacer.send(Load(tokens=500), 0.0), SUCCESS, 0.5)
    assert pacer.rates[Dimension.TOKENS].sent == 500
    assert list(learned_of(pacer, 1.0).rates) == ["requests"]


def test_a_window_that_growth_left_half_empty_is_filled_before_it_is_judged() -> None:
    """The windows in which a lane grew say nothing of their size; the next one does."""
    rules = LaneRules([Rule(Dimension.REQUESTS, FixedWindow(800, 4.0))])
    run = LaneModel(rules, REMOTE, latency(0.3), 9000, hint=exact).run()
    assert run.rate(30, run.accepts_s[-1]) >= 0.92 * 200


def test_a_told_rate_is_kept_though_calls_leave_late() -> None:
    """Strict pacing is used to 96 % without a refusal by calls that leave up to 10 ms late."""
    quota = Quota(limits=(Limit(Dimension.REQUESTS, 300, 60.0),), rate_start=2.0)
    for seed in range(5):
        rules = LaneRules([Rule(Dimension.REQUESTS, Gcra(5, 1))])
        model = LaneModel(rules, quota, latency(1.0), 1500, late_s=0.01, seed=seed)
        run = model.run()
        assert run.refused_share(30) <= 0.001
        assert run.rate(30, run.accepts_s[-1]) >= 0.965 * 5


def test_after_a_late_call_a_bucket_does_not_hurry() -> None:
    """What came in while a call was late found a full bucket, and is lost."""
    bucket = Bucket(5.0, 1.0, 1.0, 0.0)
    bucket.take(1.0, 0.0)
    bucket.left(1.0, 0.15)
    assert bucket.wait_s(1.0, 0.15) == pytest.approx(0.2)
    roomy = Bucket(5.0, 10.0, 4.0, 0.0)
    roomy.take(1.0, 0.0)
    roomy.left(1.0, 0.15)
    assert roomy.level == pytest.approx(3.75)


def test_a_fast_told_rate_is_not_slowed_by_the_end_of_its_rush() -> None:
    """Fixed windows told as a minute's rate refuse the rush; after it 98 % is used all the same."""
    quota = Quota(limits=(Limit(Dimension.REQUESTS, 2100, 60.0),), rate_start=2.0)
    rules = LaneRules([Rule(Dimension.REQUESTS, FixedWindow(105, 3.0))])
    run = LaneModel(rules, quota, latency(0.5), 3000, hint=exact, late_s=0.004).run()
    assert run.rate(30, run.accepts_s[-1]) >= 0.98 * 35
    assert run.refused_share(10) <= 0.002


def test_a_told_rate_that_others_use_too_is_given_up() -> None:
    """Where another takes 40 % of a told limit, refusals do not go on without end."""
    quota = Quota(limits=(Limit(Dimension.REQUESTS, 600, 60.0),), rate_start=2.0)
    rules = LaneRules([Rule(Dimension.REQUESTS, SlidingLog(60, 6.0))], other=OtherTenant(4, seed=2))
    run = LaneModel(rules, quota, latency(0.8), 3000, hint=exact).run()
    assert run.refused_share(100) <= 0.06


def test_a_look_above_a_known_width_is_rarer_after_each_that_failed() -> None:
    """It is earned by calls at that width; what it costs is bounded."""
    width = Width(8.0)
    width.refused(8)
    waited = []
    for _ in range(3):
        calls = 0
        while not width.may_probe:
            width.accepted(8)
            calls += 1
        waited.append(calls)
        width.probe()
        width.refused(8)
    assert waited == [PROBE_CALLS, 4 * PROBE_CALLS, 16 * PROBE_CALLS]


def test_a_bound_of_a_moment_is_looked_above_boldly() -> None:
    """A limit of which others took two thirds while it was learned is used soon after they left."""
    rates = []
    for seed in range(8):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, TokenBucket(12, 12))],
            other=OtherTenant(8, seed=seed, until_s=30.0),
        )
        run = LaneModel(rules, REMOTE, latency(0.5), 2500, hint=exact).run()
        rates.append(run.rate(90, run.accepts_s[-1]))
    assert mean(rates) >= 0.9 * 12
    assert min(rates) >= 0.75 * 12
    assert rates[3] >= 0.88 * 12


def test_a_told_limit_that_halves_is_left_and_found_again() -> None:
    """It is not insisted on: few refusals tell that it fell, looks by the clock that it is back."""
    told = Quota(limits=(Limit(Dimension.REQUESTS, 600, 60.0),), rate_start=2.0)
    for seed in range(6):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, TokenBucket(10, 10))], changes=[Change(45, 0.5, 70)]
        )
        run = LaneModel(rules, told, latency(0.6), 900, hint=exact, names=True, seed=seed).run()
        assert sum(45.0 <= at_s < 55.0 for at_s in run.refusals_s) <= 3
        assert run.rate(48.0, 70.0) >= 0.8 * 5
        assert run.rate(77.0, run.end_s - 2.0) >= 0.95 * 10
        assert run.refused_share(45.0) <= 0.012


def test_a_told_limit_that_is_half_as_high_is_not_taken_for_true_again() -> None:
    """A look that finds a little more than was thought brings back no rate far above it."""
    told = Quota(limits=(Limit(Dimension.REQUESTS, 1200, 60.0),), rate_start=2.0)
    shares, rates = [], []
    for seed in range(6):
        rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(10, 20))])
        run = LaneModel(rules, told, latency(0.5), 1500, hint=exact, names=True, seed=seed).run()
        shares.append(run.refused_share(40.0))
        rates.append(run.rate(40.0, run.end_s - 2.0))
    assert mean(shares) <= 0.0045
    assert mean(rates) >= 0.98 * 10


def test_what_comes_in_while_one_call_goes_ahead_is_used() -> None:
    """After a refusal one call is tried; since it left the limit has been filling again."""
    rate = RatePace(bucket=Bucket(math.inf, 1.0, 1.0, 0.0))
    rate.set_pace(10.0, Mode.HOLD, 0.0)
    rate.proven, rate.react_s = 20.0, 0.5
    rate.set_pace(10.0, Mode.HOLD, 0.0)
    for number in range(20):
        rate.take(1.0, 0.1 * number, True)
    rate.refused(1.0, rate.take(1.0, 2.0, True), 2.0, 2.01, 1.0)
    assert rate.wait_s(1.0, 2.5) == pytest.approx(0.51)
    rate.take(1.0, 3.01, True)
    assert rate.wait_s(1.0, 3.2) > 0.0
    assert rate.wait_s(1.0, 3.52) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_tokens_that_large_calls_need_come_in_while_small_ones_wait(seed: int) -> None:
    """Two told limits bind in turn, by the size of the call; 98.5 % of the tokens are used.

    Also after the refusal by which it is found that the limit bears no minute's worth at once.
    """
    told = (Limit(Dimension.REQUESTS, 600, 60.0), Limit(Dimension.TOKENS, 300_000, 60.0))
    rules = LaneRules(
        [
            Rule(Dimension.REQUESTS, TokenBucket(10.0, 20)),
            Rule(Dimension.TOKENS, TokenBucket(5000.0, 30_000)),
        ]
    )
    model = LaneModel(
        rules, Quota(limits=told, rate_start=2.0), latency(0.6), 4000, Load(tokens=590),
        hint=exact, names=True, tokens=(280, 900), seed=seed,
    )  # fmt: skip
    run = model.run()
    assert run.refused <= 6
    assert run.used - 30_000 >= 0.985 * 5000.0 * run.end_s
