"""What a lane makes of a limit that others use too."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import mean

import pytest

from headrace.bounds import Bounds
from headrace.fitting import Moment
from headrace.limits import Dimension
from headrace.sharing import BELOW, LONG_CALLS, MEMORY_CALLS, REST_MAX, REST_MIN, SOON_CALLS, Share
from headrace.simulator.limiters import TokenBucket
from headrace.simulator.rules import LaneRules, OtherTenant, Rule
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, exact, latency


def known_share() -> Share:
    """Return a share of which six a second are left."""
    share = Share()
    share.refused(60.0, 10.0, 6.0, 60, 1.0)
    return share


def test_what_was_accepted_from_refusal_to_refusal_is_what_is_left() -> None:
    """The limit was empty both times: what it gave meanwhile was left; longer spans weigh more."""
    share = known_share()
    assert share.left == pytest.approx(6.0)
    share.refused(80.0, 20.0, 6.0, 80, 1.0)
    assert share.left == pytest.approx(140.0 / 30.0)


def test_the_pace_begins_below_and_rises_with_every_call() -> None:
    """Just below what is left after a refusal, above it some calls later, ever faster."""
    share = known_share()
    paces = [share.pace(calls) for calls in range(0, 400, 50)]
    steps = [after - before for before, after in pairwise(paces)]
    assert paces[0] == pytest.approx(6.0 * (1.0 - BELOW))
    assert paces[-1] > 6.0 * 1.5
    assert steps == sorted(steps)
    assert min(steps) > 0.0


def test_the_rest_is_longer_where_refusals_follow_each_other() -> None:
    """Refusals in clusters ask for a longer rest, rare ones for a shorter, within bounds."""
    share = known_share()
    for calls, most in ((SOON_CALLS - 1, REST_MAX), (4 * SOON_CALLS, REST_MIN)):
        before = share.rest
        share.refused(5.0, 1.0, 6.0, calls, 1.0)
        assert (share.rest > before) == (most == REST_MAX)
        for _ in range(100):
            share.refused(5.0, 1.0, 6.0, calls, 1.0)
        assert share.rest == pytest.approx(most)


def test_after_a_long_peace_the_pace_says_what_was_left() -> None:
    """The limit ran over for some of the time: what was accepted is too little to go by."""
    share = known_share()
    share.refused(100.0, 50.0, 9.0, LONG_CALLS + 1, 1.0)
    assert share.left > 6.0


def test_what_is_long_ago_weighs_no_more_than_some_hundred_calls() -> None:
    """Others come and go: a mean over hours would be true of none of them."""
    share = known_share()
    for _ in range(100):
        share.refused(600.0, 100.0, 6.0, 100, 1.0)
    assert share.known == MEMORY_CALLS
    for _ in range(10):
        share.refused(300.0, 100.0, 3.0, 100, 1.0)
    assert share.left < 3.2


def test_nothing_accepted_changes_nothing_but_the_rest() -> None:
    """A refusal right after another says nothing of the rate."""
    share = known_share()
    share.refused(0.0, 0.2, 6.0, 0, 1.0)
    assert share.left == pytest.approx(6.0)


def test_a_shared_key_is_used() -> None:
    """Where others take 40 % of ten a second at random, 85 % of the rest are used."""
    shares, refused = [], []
    for seed in range(12):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, TokenBucket(10, 10))], other=OtherTenant(4.0, seed=seed)
        )
        run = LaneModel(rules, REMOTE, latency(0.6), 1500, hint=exact, seed=seed).run()
        shares.append(run.rate(60.0, run.end_s) / 6.0)
        refused.append(run.refused_share(60.0))
    assert mean(shares) >= 0.85
    assert min(shares) >= 0.65
    assert mean(refused) <= 0.02


def test_a_cluster_of_refusals_holds_no_lane_down() -> None:
    """Where others take 40 % and refused calls count, no draw has less than 0.65 of what is left.

    Others come in clusters: of some calls between two refusals nothing is concluded for long, and
    waits that were told, kept and in vain are not taken for a window's.
    """
    rates, windowed = [], 0
    for seed in range(24):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, TokenBucket(10, 10))],
            other=OtherTenant(4.0, seed=seed),
            refused_costs=True,
        )
        model = LaneModel(rules, REMOTE, latency(0.2), 700, hint=exact, seed=seed, until_s=150.0)
        run = model.run()
        rates.append(run.rate(40.0, min(150.0, run.accepts_s[-1])))
        windowed += model.pacer.rates[Dimension.REQUESTS].windowed
    assert min(rates) >= 0.65 * 6.0
    assert mean(rates) >= 0.87 * 6.0
    assert windowed == 0


def test_a_bound_that_few_calls_lowered_is_taken_back() -> None:
    """One that stands on three calls goes after eight times as many; one on ten calls stays."""
    for calls, is_back in ((3, True), (10, False)):
        bounds = Bounds(hi=4.0, empties=deque([Moment(0.0, 100.0, 0.0, 0.0, True)]))
        bounds.weigh(12.0, Moment(2.0, 100.0 + calls, 0.0, 0.0, True))
        bounds.relax(100.0 + calls + 8 * calls - 1)
        assert bounds.hi == 4.0
        bounds.relax(100.0 + calls + 8 * calls)
        assert bounds.hi == (12.0 if is_back else 4.0)
