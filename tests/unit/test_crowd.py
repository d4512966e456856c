"""Refusals every few calls, at any pace: the lane goes on, and alone it is not driven up."""

from __future__ import annotations

import pytest

from headrace.crowd import REFUSALS, Crowd
from headrace.leaping import PARDONS
from headrace.limits import ONE_CALL, Dimension
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.phases import Mode
from headrace.simulator.limiters import Gcra, TokenBucket
from headrace.simulator.rules import Change, LaneRules, OtherTenant, Rule
from headrace.strays import CALLS_MIN, Strays
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, Hint, exact, latency, no_hint, whole_seconds


def crowded(insists: bool, hint: Hint, seed: int) -> LaneModel:
    """Return a strict lane of 4.9 a second of which others take a third, call by call."""
    rules = LaneRules(
        [Rule(Dimension.REQUESTS, Gcra(4.9, 1))],
        other=OtherTenant(1.65, seed=seed, insists=insists),
    )
    model = LaneModel(rules, REMOTE, latency(0.2), 100_000, hint=hint, seed=seed)
    model.until_s = 1800.0
    return model


@pytest.mark.parametrize("hint", [no_hint, whole_seconds, exact])
@pytest.mark.parametrize("insists", [True, False])
def test_a_lane_among_refusals_at_any_pace_is_not_led_down(insists: bool, hint: Hint) -> None:
    """After a quarter of an hour a tenth of what others leave is used at least.

    So in three draws of four, and a hundredth in the other (seen: a fiftieth in one of 24).
    """
    rates = sorted(crowded(insists, hint, seed).run().rate(900.0, 1800.0) for seed in range(4))
    assert rates[1] >= (4.9 - 1.65) / 10
    assert rates[0] >= (4.9 - 1.65) / 100


def test_a_limit_that_fell_by_nine_tenths_is_not_leapt_at_again_and_again() -> None:
    """Alone, whatever was reached before: half an hour later next to nothing is refused."""
    for seed in range(4):
        rules = LaneRules(
            [Rule(Dimension.REQUESTS, TokenBucket(20, 20))], changes=[Change(120.0, 0.1)]
        )
        model = LaneModel(rules, REMOTE, latency(0.2), 100_000, hint=no_hint, seed=seed)
        model.until_s = 3600.0
        run = model.run()
        assert run.refused_share(1800.0) <= 0.02
        assert run.rate(1800.0, 3600.0) >= 0.85 * 2


def test_refusals_far_from_each_other_are_no_crowd() -> None:
    """The mean of five counts, in calls; before five there is none."""
    crowd = Crowd()
    for number in range(REFUSALS):
        assert crowd.calls(1.0) is None
        crowd.refused(40.0 * number, 10.0 * number)
    assert crowd.calls(2.0) == 20.0


def test_what_comes_in_is_less_than_the_pace_by_the_refusals() -> None:
    """Of four calls one is refused: three quarters of the pace, or less where less was seen."""
    crowd = Crowd()
    for number in range(REFUSALS):
        crowd.refused(3.0 * number, 1.0 * number)
    assert crowd.rate(2.0, 3.0) == 1.5
    assert crowd.rate(100.0, 3.0) == 3.0


def sunk() -> Pacer:
    """Return a lane that bore eight a second and is refused after each call at a tenth of that."""
    pacer = Pacer(REMOTE, 0.0)
    rate = pacer.rates[Dimension.REQUESTS]
    rate.reached, rate.noise = 8.0, 4
    rate.set_pace(0.8, Mode.HOLD, 0.0)
    return pacer


def refuse(pacer: Pacer, now_s: float) -> float:
    """Let a call be accepted and the next one be refused; returns when the lane goes on."""
    for kind in (OutcomeKind.SUCCESS, OutcomeKind.RATE_LIMITED):
        now_s += pacer.wait_s(ONE_CALL, now_s)
        ticket = pacer.send(ONE_CALL, now_s)
        pacer.end(ticket, Outcome(kind), now_s + 0.01)
        now_s += 0.01
    return now_s


def test_leaps_back_that_fail_become_rare() -> None:
    """Each that fails halves the way, and is not itself a pace that was reached."""
    pacer, now_s, reached = sunk(), 0.0, []
    rate = pacer.rates[Dimension.REQUESTS]
    for _ in range(60):
        now_s = refuse(pacer, now_s)
        reached.append(rate.reached)
    assert min(reached) < 8.0 / 2  # it leapt
    assert all(
        later <= at for at, later in zip(reached[REFUSALS:], reached[REFUSALS + 1 :], strict=False)
    )
    assert rate.pardons <= PARDONS


def test_a_small_step_up_is_kept_when_it_gained_twice() -> None:
    """Once may be chance; a doubling that gained is believed."""
    strays = Strays(pace=1.2, base=1.0, rate=1.0, known=100.0, lost=5.0, step=1.2)
    strays.begin(0.0, 0.0, 0.0)
    strays.calls = 60
    assert strays.ended(70.0, 1.0, 58.0, 0.0)
    assert (strays.base, strays.pace) == (1.0, 1.2)
    strays.calls = 60
    assert strays.ended(140.0, 2.0, 116.0, 0.0)
    assert strays.base == 1.2
    assert CALLS_MIN < 60
