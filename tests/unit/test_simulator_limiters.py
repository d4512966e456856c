"""The simulator's limiters keep their promise, and the waits they tell are exact."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.limits import Dimension, Load
from headrace.simulator.holds import Concurrency, PenaltyBox
from headrace.simulator.limiters import (
    DayQuota,
    FixedWindow,
    Gcra,
    Limiter,
    SlidingLog,
    SubWindow,
    TokenBucket,
)
from headrace.simulator.rules import Admitted, Change, LaneRules, OtherTenant, Refused, Rule

KINDS: dict[str, Callable[[], Limiter]] = {
    "bucket": lambda: TokenBucket(rate=2.0, capacity=5.0),
    "gcra": lambda: Gcra(rate=2.0, burst=3.0),
    "fixed": lambda: FixedWindow(amount=5, window_s=3.0, offset_s=1.0),
    "subwindow": lambda: SubWindow(amount=60, window_s=60.0, sub_s=3.0),
    "sliding": lambda: SlidingLog(amount=5, window_s=3.0),
    "day": lambda: DayQuota(amount=6, reset_at_s=2.0, day_s=10.0),
    "penalty": lambda: PenaltyBox(FixedWindow(5, 3.0), penalty_s=4.0),
}
GAPS = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=80)
COSTS = st.lists(st.integers(1, 3), min_size=80, max_size=80)
kinds = pytest.mark.parametrize("kind", KINDS)


def arrivals(
    limiter: Limiter, gaps: list[float], costs: list[int], now_s: float = 0.0
) -> list[tuple[float, int]]:
    """Send calls that far apart; return those admitted as (time, cost)."""
    admitted = []
    for gap_s, cost in zip(gaps, costs, strict=False):
        now_s += gap_s
        if limiter.wait_s(cost, now_s) == 0.0:
            limiter.take(cost, now_s)
            admitted.append((now_s, cost))
    return admitted


@given(gaps=GAPS, costs=COSTS)
def test_a_sliding_log_never_admits_more_than_its_amount_in_any_window(
    gaps: list[float], costs: list[int]
) -> None:
    """Wherever a window ends, what was admitted in it is within the amount."""
    admitted = arrivals(SlidingLog(amount=5, window_s=3.0), gaps, costs)
    for end_s, _ in admitted:
        inside = sum(cost for at_s, cost in admitted if end_s - 3.0 + 1e-6 < at_s <= end_s)
        assert inside <= 5


@given(gaps=GAPS, costs=COSTS)
def test_a_fixed_window_never_admits_more_than_its_amount(
    gaps: list[float], costs: list[int]
) -> None:
    """Windows begin at the offset and every three seconds from there."""
    used: dict[int, int] = {}
    for at_s, cost in arrivals(KINDS["fixed"](), gaps, costs):
        window = math.floor((at_s - 1.0) / 3.0 + 1e-9)
        used[window] = used.get(window, 0) + cost
    assert all(amount <= 5 for amount in used.values())


@pytest.mark.parametrize("kind", ["bucket", "gcra"])
@given(gaps=GAPS, costs=COSTS)
def test_a_rate_admits_no_more_than_its_burst_and_what_time_brings(
    kind: str, gaps: list[float], costs: list[int]
) -> None:
    """Between any two calls admitted: at most burst + rate x time."""
    burst = {"bucket": 5.0, "gcra": 3.0}[kind]
    admitted = arrivals(KINDS[kind](), gaps, costs)
    for first, (from_s, _) in enumerate(admitted):
        total = 0
        for at_s, cost in admitted[first:]:
            total += cost
            assert total <= burst + 2.0 * (at_s - from_s) + 1e-6


@kinds
@settings(max_examples=60)
@given(gaps=GAPS, costs=COSTS)
def test_the_wait_told_is_exact(kind: str, gaps: list[float], costs: list[int]) -> None:
    """Refused just before, admitted at now + wait, when nothing else happens."""
    limiter, now_s = KINDS[kind](), 0.0
    for gap_s, cost in zip(gaps, costs, strict=False):
        now_s += gap_s
        wait_s = limiter.wait_s(cost, now_s)
        if wait_s == 0.0:
            limiter.take(cost, now_s)
            continue
        limiter.refused(now_s)
        wait_s = limiter.wait_s(cost, now_s)
        assert math.isfinite(wait_s)
        if wait_s > 1e-6:
            assert limiter.copy().wait_s(cost, now_s + wait_s - 1e-7) > 0.0
        assert limiter.copy().wait_s(cost, now_s + wait_s) == 0.0


@kinds
@given(gaps=GAPS, costs=COSTS)
def test_a_copy_is_independent_and_goes_on_alike(
    kind: str, gaps: list[float], costs: list[int]
) -> None:
    """Copies in the middle of a run admit what a limiter without copies does, and so it itself."""
    half, now_s = len(gaps) // 2, 0.0
    for gap_s in gaps[:half]:
        now_s += gap_s
    limiter = KINDS[kind]()
    alone = arrivals(KINDS[kind](), gaps, costs[:half] + costs)
    before = arrivals(limiter, gaps[:half], costs[:half])
    arrivals(limiter.copy(), [0.3] * 20, [1] * 20, now_s)
    for one in (limiter.copy(), limiter):
        assert before + arrivals(one, gaps[half:], costs, now_s) == alone


@kinds
def test_what_was_given_back_can_be_taken_again(kind: str) -> None:
    """A refund leaves the limit as if the call had not been."""
    limiter = KINDS[kind]()
    before = limiter.remaining(0.0)
    limiter.take(2, 0.0)
    assert limiter.remaining(0.0) == pytest.approx(before - 2)
    limiter.give_back(2, 0.0, 0.0)
    assert limiter.remaining(0.0) == pytest.approx(before)


@kinds
def test_a_call_larger_than_the_limit_is_never_admitted(kind: str) -> None:
    """It is told that waiting does not help."""
    assert KINDS[kind]().wait_s(1000, 0.0) == math.inf


def test_a_refund_of_an_earlier_window_is_forgotten() -> None:
    """What was taken in a window that is over no longer counts, so it cannot come back."""
    window = FixedWindow(5, 60.0)
    window.take(5, 10.0)
    window.take(5, 70.0)
    window.give_back(5, 80.0, taken_s=10.0)
    assert window.remaining(80.0) == 0


def test_a_sub_window_keeps_the_rate_of_the_long_one() -> None:
    """90 a minute in windows of about a second: one in each two thirds of a second."""
    limiter = SubWindow(90, 60.0, 1.0)
    sent = arrivals(limiter, [0.01] * 12_000, [1] * 12_000)
    assert len(sent) == pytest.approx(180, abs=1)


def test_a_penalty_shuts_after_a_refusal_and_opens_again() -> None:
    """Who is refused waits for the penalty, longer than the limit itself would ask."""
    box = PenaltyBox(FixedWindow(2, 10.0), penalty_s=60.0)
    for _ in range(2):
        box.take(1, 1.0)
    assert box.wait_s(1, 2.0) == pytest.approx(8.0)
    box.refused(2.0)
    assert box.wait_s(1, 2.0) == pytest.approx(60.0)
    box.refused(30.0)
    assert box.wait_s(1, 30.0) == pytest.approx(32.0)
    assert box.wait_s(1, 62.0) == 0.0


# ---------------------------------------------------------------- several limits of a lane


def lane(**more: object) -> LaneRules:
    """Requests, tokens and concurrency together."""
    rules = [
        Rule(Dimension.REQUESTS, TokenBucket(1.0, 10.0)),
        Rule(Dimension.TOKENS, TokenBucket(100.0, 1000.0)),
        Rule(Dimension.CONCURRENCY, Concurrency(4)),
    ]
    return LaneRules(rules, **more)  # type: ignore[arg-type]


def test_all_limits_or_none() -> None:
    """A call that one limit refuses takes nothing of the others, and names that limit."""
    rules = lane()
    assert isinstance(rules.admit(Load(1, 900), 0.0), Admitted)
    answer = rules.admit(Load(1, 500), 0.0)
    assert answer == Refused(Dimension.TOKENS, "bucket", pytest.approx(4.0))
    assert rules.of(Dimension.REQUESTS)[0].remaining(0.0) == 9.0
    assert rules.of(Dimension.CONCURRENCY)[0].remaining(0.0) == 3.0
    assert isinstance(rules.admit(Load(1, 500), 4.0), Admitted)


def test_concurrency_is_freed_by_finishing_only() -> None:
    """No time helps; the end of a call does."""
    rules = lane()
    held = [rules.admit(Load(1, 1), 0.0) for _ in range(4)]
    answer = rules.admit(Load(1, 1), 100.0)
    assert isinstance(answer, Refused)
    assert (answer.dimension, answer.wait_s) == (Dimension.CONCURRENCY, math.inf)
    assert isinstance(held[0], Admitted)
    rules.finish(held[0], 100.0)
    assert isinstance(rules.admit(Load(1, 1), 100.0), Admitted)


@pytest.mark.parametrize(("refunds", "left"), [(True, 950.0), (False, 100.0)])
def test_unused_tokens_come_back_where_the_provider_refunds(refunds: bool, left: float) -> None:
    """900 reserved, 50 used."""
    rules = lane(refunds=refunds)
    admitted = rules.admit(Load(1, 900), 0.0)
    assert isinstance(admitted, Admitted)
    rules.finish(admitted, 0.0, tokens_used=50)
    assert rules.of(Dimension.TOKENS)[0].remaining(0.0) == left


def test_refused_calls_cost_quota_where_told() -> None:
    """Hammering an empty lane keeps it empty; a patient client gets through."""
    rules = LaneRules([Rule(Dimension.REQUESTS, FixedWindow(2, 1.0))], refused_costs=True)
    bucket = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(1.0, 1.0))], refused_costs=True)
    hammered = sum(isinstance(bucket.admit(Load(), at * 0.5), Admitted) for at in range(100))
    assert hammered == 1
    assert isinstance(bucket.admit(Load(), 60.0), Admitted)
    assert isinstance(rules.admit(Load(), 0.0), Admitted)


def test_limits_change_at_their_time_and_back() -> None:
    """Half the rate between 10 and 20 seconds."""
    rules = LaneRules(
        [Rule(Dimension.REQUESTS, TokenBucket(10.0, 1.0))], changes=[Change(10.0, 0.5, 20.0)]
    )
    sent = [at for at in range(3000) if isinstance(rules.admit(Load(), at / 100), Admitted)]
    by_span = [sum(low <= at / 100 < low + 10 for at in sent) for low in (0, 10, 20)]
    assert by_span == [
        pytest.approx(100, abs=1),
        pytest.approx(50, abs=1),
        pytest.approx(100, abs=1),
    ]


def test_a_copy_of_a_lane_has_its_own_schedule() -> None:
    """What has happened in a copy has not happened in the lane."""
    changes = [Change(10.0, 0.5, 20.0)]
    other = OtherTenant(rate=2.0, load=Load(1, 10), holds_s=3.0, seed=5)
    rules, lone = lane(changes=changes, other=other), lane(changes=changes, other=other)
    rules.copy().advance(100.0)
    for at_s in range(40):
        assert rules.admit(Load(1, 50), at_s) == lone.admit(Load(1, 50), at_s)
    assert rules.other_admitted == lone.other_admitted > 0


def test_another_tenant_that_insists_has_its_share_whatever_we_do() -> None:
    """Of 10/s it wants 4: a client that tries all the time gets the other 6."""
    other = OtherTenant(rate=4.0, seed=3)
    rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(10.0, 1.0))], other=other)
    ours = sum(isinstance(rules.admit(Load(), at / 500), Admitted) for at in range(100_000))
    assert rules.other_admitted == pytest.approx(800, abs=90)
    assert ours + rules.other_admitted == pytest.approx(2000, abs=40)
    assert rules.other_refused == 0


def test_another_tenant_draws_its_calls_by_seed_and_a_replay_sees_the_same() -> None:
    """Its calls follow from the seed alone, whenever somebody looks."""
    other = OtherTenant(rate=4.0, seed=11, insists=False)
    rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(10.0, 1.0))], other=other)
    twin = rules.copy()
    sent = [isinstance(rules.admit(Load(), at * 0.1), Admitted) for at in range(1, 1000)]
    again = [isinstance(twin.admit(Load(), at * 0.1), Admitted) for at in range(1, 1000)]
    assert sent == again
    assert rules.other_admitted + rules.other_refused == pytest.approx(400, abs=60)
    slow = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(10.0, 1.0))], other=other)
    slow.advance(99.9)
    assert slow.other_admitted + slow.other_refused == rules.other_admitted + rules.other_refused
