"""Retry waits: always within their bounds, whatever a provider says."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.backoff import RetryBudget, RetryPolicy

SEEDS = st.integers(0, 2**32)


@given(tries=st.integers(0, 10**6), seed=SEEDS)
def test_own_waits_stay_within_the_exponential_bound(tries: int, seed: int) -> None:
    """Without a told wait, try n waits between zero and min(cap, base * 2**(n-1))."""
    policy = RetryPolicy(wait_base_s=2.0, wait_max_s=32.0)
    wait_s = policy.wait_s(tries, None, Random(seed))
    bound_s = 32.0 if tries > 5 else 2.0 * 2 ** (max(tries, 1) - 1)
    assert 0 <= wait_s <= min(32.0, bound_s)


@given(told_s=st.floats(0, 86_400), tries=st.integers(1, 50), seed=SEEDS)
def test_told_waits_are_never_cut_short(told_s: float, tries: int, seed: int) -> None:
    """A wait that the provider names is kept, with at most a second on top."""
    wait_s = RetryPolicy().wait_s(tries, told_s, Random(seed))
    assert told_s <= wait_s <= told_s + 1.0


@given(told_s=st.floats(), seed=SEEDS)
def test_any_told_wait_gives_a_sane_one(told_s: float, seed: int) -> None:
    """Negative, endless and no numbers give a finite wait within the cap."""
    policy = RetryPolicy(provider_wait_max_s=600.0)
    assert 0 <= policy.wait_s(3, told_s, Random(seed)) <= 601.0


def test_waits_are_spread() -> None:
    """Full jitter: a crowd that fails together does not come back together."""
    waits = [RetryPolicy().wait_s(5, None, Random(seed)) for seed in range(1000)]
    assert min(waits) < 3.2
    assert max(waits) > 28.8
    assert 14.0 < sum(waits) / 1000 < 18.0


@pytest.mark.parametrize(("tries", "allowed"), [(0, True), (4, True), (5, False), (9, False)])
def test_tries_are_counted_with_the_first(tries: int, allowed: bool) -> None:
    """Five tries at most means that the fifth is the last."""
    assert RetryPolicy(attempts_max=5).allows(tries) is allowed


def test_a_budget_bounds_retries_to_a_tenth_of_first_tries() -> None:
    """Of a thousand calls that all fail, a hundred may be repeated at once, and a few to begin."""
    budget = RetryBudget(left=0.0)
    at_once = 0
    for _ in range(1000):
        budget.first_try()
        at_once += budget.spend()
    assert 95 <= at_once <= 100


def test_a_rested_budget_holds_only_so_much() -> None:
    """Long peace does not save up a storm of retries."""
    budget = RetryBudget()
    for _ in range(10_000):
        budget.first_try()
    assert sum(budget.spend() for _ in range(1000)) == 20
