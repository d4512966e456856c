"""Which rates fit what a lane remembers, where calls differ and refusals are heard of late."""

from __future__ import annotations

import pytest

from headrace.bucket import Bucket
from headrace.fitting import Moment, side
from headrace.pace import RatePace


def test_a_large_call_that_did_not_fit_in_says_nothing_of_small_ones() -> None:
    """A bucket of ten with seven in it refuses a call of four, and later takes nine and a half."""
    start = Moment(0.0, 0.0, 0.0, 0.0)
    large = Moment(2.0, 21.0, 4.0, 0.0, empty=True, cost=4.0)
    small = Moment(4.0, 34.5, 5.0, 0.0, empty=True, cost=1.0)
    assert side([start, large, small], 5.0, 1.0) == 0
    large.cost = 1.0
    assert side([start, large, small], 5.0, 1.0) != 0


@pytest.mark.parametrize("order", [(7, 8, 9), (9, 8, 7), (8, 7, 9)])
@pytest.mark.parametrize("wait_s", [0.25, None])
def test_a_refusal_heard_of_late_was_never_accepted(
    order: tuple[int, ...], wait_s: float | None
) -> None:
    """Seven of ten calls were accepted, in whatever order the three refusals come in."""
    rate = RatePace(bucket=Bucket(1000.0, 100.0, 100.0, 0.0))
    marks = [rate.take(1.0, 0.01 * number, bound=False) for number in range(10)]
    for later, number in enumerate(order):
        rate.refused(1.0, marks[number], 0.01 * number, 0.2 + 0.01 * later, wait_s)
    known = [*rate.moments, *rate.empties]
    assert rate.sent - rate.refused_units == 7.0
    assert max(one.sent - one.refused for one in known) == 7.0
    assert known[0].sent == 0.0, "what fits is asked from the first call on"
