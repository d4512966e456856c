"""The width of a lane is found from latencies, also where calls hang or are never heard of."""

from __future__ import annotations

from headrace.knee import LOST_AFTER, SETTLED_EPOCHS, Width


def _epoch(width: Width, latency_s: float, lost: int = 0, failed: int = 0) -> None:
    """Let one epoch's calls go out at full width and end, some of them badly or not at all."""
    places = [width.send(int(width.cap))]
    epoch = width.epoch
    while width.epoch == epoch:
        assert width.sent < 1000, "the epoch does not end"
        places.append(width.send(int(width.cap)))
        if len(places) < width.cap:
            continue
        place = places.pop(0)
        number = place[1]
        if number <= lost:
            continue
        if number <= lost + failed:
            width.gone(place)
        else:
            width.ended(place, latency_s)


def test_a_lane_whose_first_calls_all_failed_widens_by_those_that_follow() -> None:
    """A sample of nothing but failures says nothing, and another one is taken."""
    width = Width(12.0)
    _epoch(width, 0.5, failed=6)
    assert width.cap == 12.0
    _epoch(width, 0.5)
    assert width.cap == 24.0


def test_calls_that_died_with_their_process_do_not_keep_a_lane_narrow() -> None:
    """The sample they were of is given up once much later calls have ended."""
    width = Width(12.0)
    _epoch(width, 0.5, lost=3)
    assert width.cap == 12.0
    _epoch(width, 0.5)
    assert width.cap == 24.0


def test_a_sample_is_not_given_up_for_calls_that_are_only_slow() -> None:
    """Calls that end long after those sent just behind them still count."""
    width = Width(12.0)
    places = [width.send(12) for _ in range(int(LOST_AFTER * width.sample))]
    for place in places[6:]:
        width.ended(place, 0.1)
    for place in places[:6]:
        width.ended(place, 3.0)
    assert width.latency_before_s == 3.0


def test_one_slow_sample_does_not_narrow_a_lane_and_two_do() -> None:
    """A call that hung, or a process that stood still, is no queue; what stays slow is one."""
    width = Width(8.0)
    _epoch(width, 0.5)
    _epoch(width, 1.0)
    assert width.settled
    cap = width.cap
    _epoch(width, 5.0)
    assert width.cap == cap
    _epoch(width, 0.5)
    _epoch(width, 5.0)
    assert width.cap == cap
    _epoch(width, 5.0)
    assert width.cap < cap


def test_a_settled_lane_looks_wider_again_after_a_while() -> None:
    """Servers grow: after some epochs the width is doubled once more."""
    width = Width(8.0)
    _epoch(width, 0.5)
    _epoch(width, 1.0)
    cap = width.cap
    for _ in range(SETTLED_EPOCHS):
        _epoch(width, 0.5)
    assert width.cap == 2 * cap


def test_a_look_above_a_width_that_queued_is_judged_by_calls_that_found_it_full() -> None:
    """The first calls after it was doubled find an empty queue, and would have it doubled again."""
    width = Width(8.0)
    _epoch(width, 0.5)
    _epoch(width, 1.0)
    for _ in range(SETTLED_EPOCHS):
        _epoch(width, 0.5)
    assert width.cap == 16.0
    for in_flight in range(8, 16):
        width.ended(width.send(in_flight), 0.5)
    _epoch(width, 1.0)
    assert width.cap == 8.0
