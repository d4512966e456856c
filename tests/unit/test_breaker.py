"""A breaker leaves what fails alone, longer each time, and lets one caller at a time try it."""

from __future__ import annotations

from headrace.caches.breaker import REST_S_MAX, REST_S_MIN, TRIPS_AT, Breaker


def test_it_rests_after_faults_in_a_row() -> None:
    """Single faults between successes change nothing; faults in a row begin a rest, told once."""
    breaker = Breaker()
    for _ in range(5):
        assert not breaker.failed(0.0)
        breaker.succeeded()
    told = [breaker.failed(0.0) for _ in range(TRIPS_AT + 1)]
    assert told == [False] * (TRIPS_AT - 1) + [True, False]
    assert breaker.rests(0.0)
    assert not breaker.lets_through(0.0)


def test_one_tries_after_a_rest() -> None:
    """When the rest is over one caller tries, and the others wait for how that ends."""
    breaker = Breaker()
    for _ in range(TRIPS_AT):
        breaker.failed(0.0)
    assert breaker.lets_through(REST_S_MIN)
    assert not breaker.lets_through(REST_S_MIN)
    breaker.succeeded()
    assert breaker.lets_through(REST_S_MIN)


def test_rests_grow_to_a_bound() -> None:
    """Each try that fails doubles the rest, up to half a minute."""
    breaker, now_s, rests = Breaker(), 0.0, []
    for _ in range(TRIPS_AT):
        breaker.failed(now_s)
    for _ in range(8):
        rests.append(breaker.rests_until_s - now_s)
        now_s = breaker.rests_until_s
        assert breaker.lets_through(now_s)
        breaker.failed(now_s)
    assert rests == [1, 2, 4, 8, 16, REST_S_MAX, REST_S_MAX, REST_S_MAX]
