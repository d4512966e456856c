"""What was used of a day's quota, and why a lane is shut, across restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from headrace.gate import Ask, LaneShutError, PermitEnd, shut_for
from headrace.gates.local import LocalGate
from headrace.gates.side import LaneSide
from headrace.lane_words import limit_words, shut_words
from headrace.learned import (
    Learned,
    LearnedQuota,
    LearnedRate,
    Remembered,
    learned_of,
    read_learned,
    warm,
)
from headrace.limits import DAY_S, Dimension, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.testing import ManualClock

ONE = Load()
SUCCESS = Outcome(OutcomeKind.SUCCESS)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR_S = 3600.0


def by_day(amount: float, window_s: float = DAY_S) -> Quota:
    """A quota of requests that the settings tell."""
    return Quota(8, (Limit(Dimension.REQUESTS, amount, window_s),), pinned=True)


def used(count: int, quota: Quota, at_s: float = 1000.0) -> Pacer:
    """A lane that let so many calls go at a moment."""
    pacer = Pacer(quota, 0.0)
    for _ in range(count):
        assert pacer.wait_s(ONE, at_s) == 0.0
        pacer.end(pacer.send(ONE, at_s), SUCCESS, at_s)
    return pacer


def written(learned: Learned) -> Learned:
    """What another process reads of it."""
    found = read_learned(msgspec.json.encode(learned), "a")
    assert found is not None
    return found


def begun(learned: Learned, quota: Quota, age_s: float, now_s: float = 5.0) -> Pacer:
    """A lane of the next process, ``age_s`` after that was written."""
    pacer = Pacer(quota, now_s)
    warm(pacer, written(learned), now_s, age_s)
    return pacer


def can_send(pacer: Pacer, now_s: float = 5.0) -> int:
    """How many calls a lane lets go by its longer quotas."""
    count = 0
    while count < 1000 and pacer.shut_s(now_s) == 0.0:
        pacer.end(pacer.send(ONE, now_s), SUCCESS, now_s)
        count += 1
    return count


# -- quotas of a day ---------------------------------------------------------------------------


def test_what_was_used_of_a_day_stays_used_in_the_next_process() -> None:
    """Two of three were sent an hour ago: one more goes, and the day ends a day after the first."""
    learned = learned_of(used(2, by_day(3)), 1000.0 + HOUR_S)
    pacer = begun(learned, by_day(3), age_s=HOUR_S)
    assert can_send(pacer) == 1
    assert pacer.shut_s(5.0) == pytest.approx(DAY_S - 2 * HOUR_S)
    assert pacer.why_shut() == "its 3 requests a day are used up"
    assert pacer.wait_s(ONE, 5.0 + DAY_S - 2 * HOUR_S) == 0.0


def test_a_day_that_is_over_counts_no_more() -> None:
    """Whether it ended before that was written or after it, the whole quota is there."""
    lane = used(2, by_day(2))
    for at_s, age_s in ((1001.0, DAY_S), (1000.0 + DAY_S, 0.0)):
        assert can_send(begun(learned_of(lane, at_s), by_day(2), age_s)) == 2


def test_an_hour_and_a_day_are_kept_apart() -> None:
    """The hour that is over is forgotten, its day is not."""
    quota = Quota(8, tuple(Limit(Dimension.REQUESTS, n, s) for n, s in ((2, HOUR_S), (3, DAY_S))))
    learned = learned_of(used(2, quota), 1000.0)
    pacer = begun(learned, quota, age_s=2 * HOUR_S)
    assert can_send(pacer) == 1
    assert pacer.why_shut() == "its 3 requests a day are used up"


def test_another_amount_in_the_settings_keeps_what_was_used() -> None:
    """Of ten three more are left after seven; of five none; another window begins anew."""
    learned = learned_of(used(7, by_day(7)), 1000.0)
    assert can_send(begun(learned, by_day(10), 1.0)) == 3
    assert can_send(begun(learned, by_day(5), 1.0)) == 0
    assert can_send(begun(learned, by_day(5, HOUR_S), 1.0)) == 5
    assert can_send(begun(learned, Quota(8), 1.0)) == 1000


def test_tokens_are_counted_on_too_and_nobody_stands_in_line_for_a_day() -> None:
    """What is left is less than a call takes: the lane is shut at once, as before the restart."""
    quota = Quota(8, (Limit(Dimension.TOKENS, 1000, DAY_S),))
    lane, load = Pacer(quota, 0.0), Load(tokens=300)
    for _ in range(3):
        lane.end(lane.send(load, 0.0), SUCCESS, 0.0)
    pacer = begun(learned_of(lane, 60.0), quota, age_s=0.0)
    assert pacer.shut_s(5.0) == pytest.approx(DAY_S - 60.0)
    assert pacer.wait_s(load, 5.0) == pytest.approx(DAY_S - 60.0)


def test_a_clock_that_was_set_back_makes_no_window_longer() -> None:
    """An hour back, a day is a day at most; a year back, what was written is of no use."""
    learned = learned_of(used(2, by_day(2)), 1000.0)
    hour = Remembered(learned, NOW + timedelta(hours=1))
    pacer = begun(hour.learned, by_day(2), hour.age_s(NOW))
    assert 0.0 < pacer.shut_s(5.0) <= DAY_S
    assert hour.holds(NOW)
    assert not Remembered(learned, NOW + timedelta(days=365)).holds(NOW)


async def test_a_gate_knows_what_the_one_before_it_used() -> None:
    """Two processes one after another make no more calls together than one may."""
    clock = ManualClock()
    first = LocalGate(clock)
    for _ in range(2):
        (await first.acquire(Ask("a", by_day(2)))).end(PermitEnd.SUCCESS, SUCCESS)
    (lane,) = first.lanes()
    kept = {"a": Remembered(written(learned_of(lane.pacer, lane.now_s)), clock.now())}
    await clock.advance(HOUR_S)
    second = LocalGate(clock)
    second.remember(kept)
    second.reopen()  # no person can give what the settings do not
    with pytest.raises(LaneShutError, match="2 requests a day are used up") as shut:
        await second.acquire(Ask("a", by_day(2)))
    assert shut.value.wait_s == pytest.approx(DAY_S - HOUR_S)
    await clock.advance(DAY_S - HOUR_S)
    (await second.acquire(Ask("a", by_day(2)))).end(PermitEnd.SUCCESS, SUCCESS)


def test_a_shared_lane_whose_state_is_lost_or_whose_settings_change_counts_on() -> None:
    """After a crash of the server, hours into its day, and under another amount, too."""
    side = LaneSide("a", by_day(3))
    shared = side.read(1, b"", 50_000.0, 10.0)
    shared.at_s = 7200.0
    for _ in range(2):
        ticket = shared.pacer.send(ONE, 7200.0)
        shared.pacer.end(ticket, SUCCESS, 7200.0)
    side.lose(10.0 + 7200.0)
    lost = side.read(2, b"", 58_000.0, 10.0 + 8000.0)
    assert lost is not shared
    assert lost.at_s >= 7200.0
    assert can_send(lost.pacer, lost.at_s) == 1
    assert lost.pacer.shut_s(lost.at_s) == pytest.approx(DAY_S, abs=1000.0)
    side.quota = by_day(4)
    side._settle(lost)
    assert can_send(lost.pacer, lost.at_s) == 1


# -- lanes that are shut -----------------------------------------------------------------------


def shut(kind: OutcomeKind, wait_s: float | None, reason: str | None = "no funds left") -> Pacer:
    """A lane whose first call was refused."""
    pacer = Pacer(Quota(8), 0.0)
    outcome = Outcome(kind, reason or "", wait_s=wait_s)
    pacer.end(pacer.send(ONE, 0.0), outcome, 0.0)
    return pacer


def test_a_lane_without_funds_is_shut_to_the_next_process_too() -> None:
    """It says why, opens when it would have, and then one call goes ahead to look."""
    lane = shut(OutcomeKind.QUOTA_EXHAUSTED, 7200.0)
    pacer = begun(learned_of(lane, 200.0), Quota(8), age_s=1000.0)
    assert pacer.shut_s(5.0) == pytest.approx(6000.0)
    assert pacer.why_shut() == "no funds left"
    assert pacer.wait_s(ONE, 5.0 + 6000.0) == 0.0
    assert pacer.send(ONE, 5.0 + 6000.0).probe
    assert begun(learned_of(lane, 200.0), Quota(8), age_s=7000.0).shut_s(5.0) == 0.0


def test_a_long_wait_that_a_provider_asks_for_is_kept_by_the_next_process() -> None:
    """Tomorrow is tomorrow, also for a refusal that speaks of a rate."""
    lane = shut(OutcomeKind.RATE_LIMITED, 7200.0)
    pacer = begun(learned_of(lane, 200.0), Quota(8), age_s=1000.0)
    assert pacer.shut_s(5.0) == pytest.approx(6000.0)
    assert pacer.why_shut() == "the provider asked for a long wait"


@pytest.mark.parametrize(
    ("kind", "wait_s", "renews"),
    [
        (OutcomeKind.QUOTA_EXHAUSTED, 7200.0, True),
        (OutcomeKind.RATE_LIMITED, 7200.0, True),
        (OutcomeKind.QUOTA_EXHAUSTED, None, False),
    ],
)
def test_the_next_process_knows_who_has_to_see_to_a_shut_lane(
    kind: OutcomeKind, wait_s: float | None, renews: bool
) -> None:
    """What comes back at a named time is waited for; funds need a person, then as before."""
    pacer = begun(learned_of(shut(kind, wait_s), 200.0), Quota(8), age_s=1000.0)
    assert pacer.shut_s(5.0) > 1000.0
    assert shut_for("a", pacer, 5.0, pacer.shut_s(5.0)).renews is renews


@pytest.mark.parametrize("kind", [OutcomeKind.AUTH, OutcomeKind.RATE_LIMITED])
def test_a_moment_is_not_remembered(kind: OutcomeKind) -> None:
    """Who starts again after a rejected key most likely has another, and is not kept waiting."""
    lane = shut(kind, None)
    assert begun(learned_of(lane, 1.0), Quota(8), age_s=1.0).shut_s(5.0) == 0.0


async def test_a_person_who_has_looked_opens_a_lane_that_nobody_has_asked_yet() -> None:
    """``headrace resume`` tries at once; without it the lane stays shut until then."""
    clock = ManualClock()
    lane = shut(OutcomeKind.QUOTA_EXHAUSTED, 7200.0)
    kept = {"a": Remembered(written(learned_of(lane, 0.0)), clock.now())}
    for resumed in (False, True):
        gate = LocalGate(clock)
        gate.remember(kept)
        if resumed:
            gate.reopen()
            assert (await gate.acquire(Ask("a", Quota(8)))).probe
        else:
            with pytest.raises(LaneShutError, match="no funds left"):
                await gate.acquire(Ask("a", Quota(8)))


# -- as it is written and told -----------------------------------------------------------------


def test_what_an_earlier_release_wrote_is_read() -> None:
    """A row without longer quotas and shut lanes is whole, and says nothing of them."""
    before = b'{"width":{"cap":20.0,"known":true},"rates":{"requests":{"pace":10.0,"hi":11.0}}}'
    found = read_learned(before, "a")
    assert found is not None
    assert found.rates["requests"].longer == ()
    assert found.shut_s == 0.0


@pytest.mark.parametrize(
    "text",
    ['{"shut_s": -1}', '{"shut_s": 1e9}',
     '{"rates": {"requests": {"longer": [{"amount": 0, "window_s": 86400}]}}}',
     '{"rates": {"requests": {"longer": [{"amount": 2, "window_s": 86400, "used": -1}]}}}',
     '{"rates": {"requests": {"longer": [{"amount": 2, "window_s": 86400, "left_s": 1e6}]}}}',
     '{"rates": {"requests": {"longer": {}}}}'],
)  # fmt: skip
def test_a_damaged_count_is_ignored(text: str) -> None:
    """What nobody can have written shuts no lane."""
    assert read_learned(text, "a") is None


def test_people_are_told_what_is_used_and_when_it_begins_anew() -> None:
    """Used up, in part, or with its day over; beside what is announced, which nobody pinned."""
    quota = LearnedQuota(2.0, DAY_S, 2.0, HOUR_S, origin="pinned")
    rates = {"requests": LearnedRate(told=100.0, origin="announced", pace=99.0, longer=(quota,))}
    told = Remembered(Learned(rates=rates), NOW - timedelta(minutes=10))
    words = limit_words(told, NOW)
    assert words[0] == "6,000 requests/min, announced by the provider"
    assert words[1] == "2 requests/day, pinned: 2 used, anew from 2026-01-01 12:50:00 UTC"
    assert shut_words(told, NOW) == "2026-01-01 12:50:00 UTC: its 2 requests a day are used up"
    later = NOW + timedelta(hours=1)
    assert limit_words(told, later)[1] == "2 requests/day, pinned: none used"
    assert shut_words(told, later) is None


def test_a_lane_that_only_a_day_limits_has_no_other_limit_to_tell() -> None:
    """And what the provider announces is not said to be pinned."""
    quota = Quota(8, (Limit(Dimension.REQUESTS, 5, DAY_S),), pinned=True)
    told = Remembered(learned_of(used(1, quota, 0.0), 0.0), NOW)
    assert limit_words(told, NOW)[0] == (
        "5 requests/day, pinned: 1 used, anew from 2026-01-02 12:00:00 UTC"
    )
    assert shut_words(told, NOW) is None
    pacer = used(1, quota, 0.0)
    said = Said(limits=(Limit(Dimension.REQUESTS, 600, 60.0),))
    pacer.end(pacer.send(ONE, 1.0), Outcome(OutcomeKind.SUCCESS, said=said), 1.0)
    assert learned_of(pacer, 1.0).rates["requests"].origin == "announced"


def test_a_lane_without_funds_says_so_when_nobody_works_on_it() -> None:
    """Until when, and why, in the provider's words."""
    learned = learned_of(shut(OutcomeKind.QUOTA_EXHAUSTED, 7200.0), 0.0)
    told = Remembered(learned, NOW)
    assert shut_words(told, NOW) == "2026-01-01 14:00:00 UTC: no funds left"
    assert shut_words(told, NOW + timedelta(hours=3)) is None
