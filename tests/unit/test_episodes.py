"""A limit that was shut for reasons of its own: outages, and times without work."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from headrace.learned import (
    Learned,
    LearnedRate,
    LearnedWidth,
    learned_of,
    read_learned,
    warm,
)
from headrace.limits import ONE_CALL, Dimension, Load
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.simulator.limiters import FixedWindow, Limiter, TokenBucket
from tests.unit.driven import Ask, Asked, drive, limited
from tests.unit.lanes_drawn import REMOTE


def whole(wait_s: float) -> float:
    """Tell a wait in whole seconds."""
    return max(1.0, math.ceil(wait_s))


def nothing(wait_s: float) -> float | None:
    """Tell no wait."""
    return None


def shut(
    limiter: Limiter, hint: Callable[[float], float | None], from_s: float, for_s: float
) -> Ask:
    """Return who lets calls in by a limit, and none at all for a while."""
    usual = limited(limiter, hint)

    def ask(load: Load, now_s: float) -> Asked:
        if from_s <= now_s < from_s + for_s:
            told = hint(1.0)
            return Asked(refused=True, wait_s=told)
        return usual(load, now_s)

    return ask


@pytest.mark.parametrize("hint", [whole, nothing])
@pytest.mark.parametrize(("from_s", "for_s"), [(5.0, 180.0), (100.0, 600.0)])
@pytest.mark.parametrize("kind", ["bucket", "fixed"])
def test_an_outage_is_no_window(
    kind: str, from_s: float, for_s: float, hint: Callable[[float], float | None]
) -> None:
    """All is refused for minutes, and not for the pace: soon nine tenths are used again.

    Taken for a window it leaves a lane of ten a second at one in ten seconds for hours.
    """
    limiter = TokenBucket(10, 10) if kind == "bucket" else FixedWindow(600, 60.0, 20.0)
    until_s = from_s + for_s
    run = drive(Pacer(REMOTE, 0.0), shut(limiter, hint, from_s, for_s), until_s + 600.0)
    assert run.rate(until_s, until_s + 120.0) >= 0.5 * 10.0
    assert run.rate(until_s + 120.0, until_s + 600.0) >= 0.9 * 10.0
    assert run.refused(until_s) <= 0.02 * run.accepted(until_s)


def test_waits_that_were_kept_in_vain_show_no_window() -> None:
    """A minute's outage that tells a second's wait each time is over when it is over."""
    run = drive(Pacer(REMOTE, 0.0), shut(TokenBucket(10, 10), whole, 5.0, 60.0), 665.0)
    assert run.rate(65.0, 245.0) >= 0.7 * 10.0
    assert run.rate(245.0, 665.0) >= 0.9 * 10.0


def test_an_hour_without_work_after_a_refusal_is_no_window() -> None:
    """Nor is it learned as one, for the days after."""
    pacer, ask = Pacer(REMOTE, 0.0), limited(TokenBucket(10, 10), lambda wait_s: 1.0)
    drive(pacer, ask, 100.0)
    now_s = 100.5
    now_s += pacer.wait_s(ONE_CALL, now_s)
    ticket = pacer.send(ONE_CALL, now_s)
    pacer.end(ticket, Outcome(OutcomeKind.RATE_LIMITED, wait_s=1.0), now_s + 0.03)
    run = drive(pacer, ask, now_s + 7200.0, now_s + 3600.0)
    assert run.rate(now_s + 3600.0, now_s + 7200.0) >= 0.95 * 10.0
    text = learned_of(pacer, now_s)
    assert text.rates["requests"].window_s <= 130.0


def test_one_wait_of_an_hour_is_no_window() -> None:
    """A penalty that was told, and kept: after it the lane goes as fast as before."""
    usual, told = limited(TokenBucket(10, 10), whole), [False]

    def ask(load: Load, now_s: float) -> Asked:
        if now_s > 20.0 and not told[0]:
            told[0] = True
            return Asked(refused=True, wait_s=3600.0)
        return usual(load, now_s)

    run = drive(Pacer(REMOTE, 0.0), ask, 4220.0)
    assert run.rate(3630.0, 3660.0) >= 0.7 * 10.0
    assert run.rate(3660.0, 4220.0) >= 0.9 * 10.0


def test_an_hour_that_is_told_twice_after_as_much_is_a_window() -> None:
    """A hundred an hour: all of them are used, and few calls are refused."""
    run = drive(Pacer(REMOTE, 0.0), limited(FixedWindow(100, 3600.0), whole), 6 * 3600.0)
    assert run.accepted() >= 550
    assert run.refused(2 * 3600.0) <= 60


def test_a_window_of_ten_minutes_is_found_when_it_is_shut_twice() -> None:
    """After as much each time: it is no outage, and is not asked in vain all the time."""
    pacer = Pacer(REMOTE, 0.0)
    run = drive(pacer, limited(FixedWindow(1000, 600.0), nothing), 7200.0)
    assert run.rate(3600.0, 7200.0) >= 0.7 * 1000 / 600.0
    assert run.refused(3600.0) <= 0.03 * run.accepted(3600.0)


def test_a_person_ends_a_long_pause() -> None:
    """A wait of a month that a refusal told is over when somebody resumes: one call looks."""
    pacer = Pacer(REMOTE, 0.0)
    ticket = pacer.send(ONE_CALL, 0.0)
    pacer.end(ticket, Outcome(OutcomeKind.RATE_LIMITED, wait_s=30 * 86_400.0), 0.1)
    assert pacer.shut_s(1.0) > 29 * 86_400.0
    pacer.reopen(1.0)
    assert pacer.shut_s(1.0) == 0.0
    pacer.send(ONE_CALL, 1.0)
    assert pacer.wait_s(ONE_CALL, 1.0) > 0.0  # the others see what becomes of it


@pytest.mark.parametrize("limit", [10.0, 0.05])
def test_a_pace_that_was_low_an_hour_ago_is_asked_about(limit: float) -> None:
    """Learned as three calls a minute, by a key that others used: one look says what it is now."""
    rate = LearnedRate(0.05, 0.048, 0.052, held=True)
    pacer = Pacer(REMOTE, 0.0)
    warm(pacer, Learned(LearnedWidth(8.0, known=True), {"requests": rate}), 0.0, 7200.0)
    run = drive(pacer, limited(TokenBucket(limit, max(1.0, limit)), whole), 900.0)
    if limit > 1.0:
        assert run.rate(120.0, 900.0) >= 0.9 * limit
    else:
        assert run.rate(120.0, 900.0) >= 0.8 * limit
        assert run.refused() <= 4


def test_a_window_longer_than_any_that_is_looked_for_is_not_believed_from_before() -> None:
    """What an older release took for one of hours would hold a lane for hours again."""
    learned = read_learned(
        '{"rates":{"requests":{"pace":0.08,"lo":0.07,"hi":0.09,"held":true,"windowed":true,'
        '"window_s":5400.0}}}',
        "lane",
    )
    assert learned is not None
    pacer = Pacer(REMOTE, 0.0)
    warm(pacer, learned, 0.0, 86_400.0)
    run = drive(pacer, limited(TokenBucket(10, 10), whole), 900.0)
    assert run.rate(300.0, 900.0) >= 0.9 * 10.0
    assert pacer.rates[Dimension.REQUESTS].window_s <= 130.0
