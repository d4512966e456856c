"""Failures of a provider: they narrow a lane only where it is narrow that they become fewer."""

from __future__ import annotations

from random import Random

import pytest

from headrace.circuit import NARROWEST, SAMPLE, SHARE_MAX, Circuit

CALLS = 20_000
LEARNED = 5_000


def _mean_factor(share: float, fails_above: float = 0.0) -> tuple[float, Circuit]:
    """Return how wide a lane was after its first calls; these fail while it is wider than that."""
    random, circuit, widths = Random(1), Circuit(), []
    for number in range(CALLS):
        if circuit.factor > fails_above and random.random() < share:
            circuit.failed(probe=False, now_s=number * 0.1, in_flight=3, wait_s=None)
            circuit.is_open = False
        else:
            circuit.succeeded()
        widths.append(circuit.factor)
    return sum(widths[LEARNED:]) / (CALLS - LEARNED), circuit


@pytest.mark.parametrize("share", [0.05, 0.08, 0.12, 0.2])
def test_failures_that_come_at_any_width_do_not_keep_a_lane_narrow(share: float) -> None:
    """A provider that fails for one call in twenty, or five, is used at two thirds and more."""
    assert _mean_factor(share)[0] >= 0.66


@pytest.mark.parametrize("limit", [0.5, 0.3])
def test_failures_that_the_width_causes_narrow_the_lane_to_what_is_borne(limit: float) -> None:
    """Where calls fail above a width, the lane stays about there, and takes none for usual."""
    mean, circuit = _mean_factor(0.3, fails_above=limit)
    assert mean <= limit * 1.05
    assert circuit.usual == 0.0


def test_a_provider_that_has_recovered_is_held_to_the_usual_share_again() -> None:
    """What was usual in bad times is forgotten in good ones: 3 % of failures narrow again."""
    _, circuit = _mean_factor(0.12)
    for _ in range(100 * SAMPLE):
        circuit.succeeded()
    assert circuit.factor == 1.0
    assert circuit.share_max == SHARE_MAX
    for _ in range(2):
        circuit.failed(probe=False, now_s=0.0, in_flight=3, wait_s=None)
    assert circuit.factor == pytest.approx(0.8)


def test_a_lane_of_which_most_calls_fail_stays_narrow() -> None:
    """A share of failures that nobody would call usual is answered with few calls at once."""
    assert _mean_factor(0.6)[0] == pytest.approx(NARROWEST, abs=0.02)
