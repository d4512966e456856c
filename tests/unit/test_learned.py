"""What a lane has learned, across restarts: kept in words, begun again a step below."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from headrace.clock import Clock
from headrace.forecast import forecast
from headrace.gate import Ask, PermitEnd
from headrace.gates.local import LocalGate
from headrace.lane_words import limit_words
from headrace.learned import (
    WARM,
    Learned,
    LearnedRate,
    LearnedWidth,
    Remembered,
    learned_of,
    read_learned,
    warm,
)
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.phases import Mode
from headrace.strays import Strays
from headrace.testing import ManualClock

HELD = LearnedRate(pace=10.0, lo=9.9, hi=10.1, held=True, proven=20.0)
KNOWN = Learned(LearnedWidth(20.0, known=True), {"requests": HELD}, credit=2.0, call_s=3.0)


def sent_in(pacer: Pacer, seconds: float) -> int:
    """How many calls a lane lets go in so many seconds, each ended at once."""
    now_s, count = 0.0, 0
    while now_s < seconds:
        wait_s = pacer.wait_s(Load(), now_s)
        if wait_s > 0:
            now_s += wait_s
            continue
        pacer.end(pacer.send(Load(), now_s), None, now_s)
        count += 1
    return count


def test_a_warm_start_begins_at_most_of_what_was_learned() -> None:
    """Not from nothing, and a step below: no burst in a lane that was busy just now."""
    pacer = Pacer(Quota(8), 0.0)
    warm(pacer, KNOWN, 0.0, age_s=0.5)
    assert pacer.rates[Dimension.REQUESTS].pace == pytest.approx(WARM * 10.0)
    assert pacer.width.cap == 16.0
    assert pacer.credit.left == 2.0
    assert 7 <= sent_in(pacer, 1.0) <= 10


def test_a_limit_that_has_rested_may_be_used_in_a_rush_again() -> None:
    """Hours later the provider's bucket is full: what it was seen to bear may go at once."""
    pacer = Pacer(Quota(8), 0.0)
    warm(pacer, KNOWN, 0.0, age_s=3600.0)
    assert 15 + 7 <= sent_in(pacer, 1.0) <= 26


def test_what_is_told_wins_over_what_was_learned() -> None:
    """Settings that name another limit start from it, not from yesterday's."""
    pacer = Pacer(Quota(8, (Limit(Dimension.REQUESTS, 6000, 60.0),)), 0.0)
    before = pacer.rates[Dimension.REQUESTS].pace
    warm(pacer, KNOWN, 0.0)
    assert pacer.rates[Dimension.REQUESTS].pace == before
    pinned = Pacer(Quota(4, (Limit(Dimension.CONCURRENCY, 4.0),), pinned=True), 0.0)
    warm(pinned, KNOWN, 0.0)
    assert pinned.width.cap == 4.0


def test_a_told_limit_used_a_moment_ago_is_not_taken_for_full() -> None:
    """After a restart within its window it goes on at its rate instead of a second rush."""
    quota = Quota(1000, (Limit(Dimension.REQUESTS, 600, 60.0),))
    told = Learned(rates={"requests": LearnedRate(pace=9.97, told=10.0, origin="told", held=True)})
    soon, late = Pacer(quota, 0.0), Pacer(quota, 0.0)
    warm(soon, told, 0.0, age_s=2.0)
    warm(late, told, 0.0, age_s=600.0)
    assert sent_in(soon, 1.0) <= 12
    assert sent_in(late, 1.0) > 18


def test_what_is_learned_is_written_and_read_in_words() -> None:
    """A round trip through JSON changes nothing, and infinity has no place in it."""
    pacer = Pacer(Quota(8, (Limit(Dimension.TOKENS, 9000, 60.0),)), 0.0)
    warm(pacer, KNOWN, 0.0)
    found = learned_of(pacer, 0.0, 1.5)
    text = msgspec.json.encode(found)
    assert read_learned(text, "a") == found
    assert found.rates["tokens"].origin == "told"
    assert b"Infinity" not in text


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nonsense", '{"rates": {"wishes": {"pace": 1}}}', '{"width": {"cap": "many"}}',
     '{"rates": {"requests": {"pace": -1}}}', '{"width": {"cap": 0}}'],
)  # fmt: skip
def test_what_is_not_ours_is_ignored(text: str) -> None:
    """Damaged or foreign JSON is no error: the lane learns anew."""
    assert read_learned(text, "a") is None


def test_its_age_is_never_negative() -> None:
    """A wall clock that was set back makes nothing younger than now."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert Remembered(KNOWN, at).age_s(at - timedelta(hours=1)) == 0.0


async def test_a_gate_begins_where_the_lane_was() -> None:
    """The first permit of a lane already keeps to what an earlier process learned."""
    clock: Clock = ManualClock()
    gate = LocalGate(clock)
    gate.remember({"a": Remembered(KNOWN, clock.now())})
    (await gate.acquire(Ask("a", Quota(8)))).end(PermitEnd.IGNORED)
    (lane,) = gate.lanes()
    assert lane.pacer.rates[Dimension.REQUESTS].pace == pytest.approx(WARM * 10.0)
    assert lane.call_s == 3.0


def test_whether_tokens_come_back_is_remembered() -> None:
    """What was found is known at once by the next process; what the settings say wins."""
    before = Learned(tokens_refunded=True)
    for setting, given in ((None, True), (False, False)):
        pacer = Pacer(Quota(tokens_refunded=setting), 0.0)
        warm(pacer, before, 0.0)
        assert pacer.refunds.given is given
    assert learned_of(pacer, 1.0).tokens_refunded
    assert read_learned(msgspec.json.encode(before), "a") == before


def test_a_start_that_was_never_tried_is_not_remembered_as_learned() -> None:
    """After calls on demand a large batch still begins at its advice, in the next process too."""
    before = Pacer(Quota(3, advised=True), 0.0)
    before.end(before.send(Load(), 0.0), Outcome(OutcomeKind.SUCCESS), 1.0)
    written = msgspec.json.encode(learned_of(before, 1.0))
    learned = read_learned(written, "a")
    assert learned is not None
    pacer = Pacer(Quota(3, advised=True), 0.0)
    warm(pacer, learned, 0.0)
    assert pacer.width.cap == 3.0
    assert pacer.width.advise(1000)
    other = Pacer(Quota(8), 0.0)
    warm(other, learned, 0.0)
    assert other.width.cap == 8.0


def test_a_remembered_width_is_not_widened_by_a_batch() -> None:
    """Four in flight were found, by a refusal or by latency: no batch begins with more."""
    for known in (True, False):
        pacer = Pacer(Quota(3, advised=True), 0.0)
        warm(pacer, Learned(LearnedWidth(4.0, known=known)), 0.0)
        assert not pacer.width.advise(1000)
        assert pacer.width.cap <= 4.0


def test_a_forecast_reckons_with_the_start_that_its_batch_would_have() -> None:
    """A lane that only took calls on demand is not said to take 500 calls three at a time."""
    quota = Quota(3, advised=True)
    learned = Learned(LearnedWidth(3.0, untried=True), call_s=12.0)
    assert forecast(500, Load(500), quota, learned).words.endswith(
        "12 in flight × 12 s, no limit met yet"
    )


def test_refusals_at_any_pace_are_told_to_people() -> None:
    """Who looks at a lane reads that the provider refuses some calls, however slow they come."""
    pacer = Pacer(Quota(8, rate_start=2.0), 0.0)
    pacer.send(Load(), 0.0)
    rate = pacer.rates[Dimension.REQUESTS]
    assert learned_of(pacer, 1.0).rates["requests"].strays is None
    rate.stray, rate.strays = True, Strays(10.0, 10.0, 9.7, lost=6.0, known=200.0)
    rate.set_pace(10.0, Mode.HOLD, 1.0)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    told = Remembered(learned_of(pacer, 1.0), now - timedelta(seconds=30))
    words = limit_words(told, now)
    assert words[0] == (
        "about 600 requests/min, learned 30 s ago; of 100 calls 3 are refused at any pace"
    )
    read = read_learned(msgspec.json.encode(learned_of(pacer, 1.0)), "lane")
    assert read is not None
    assert read.rates["requests"].strays == 0.03
