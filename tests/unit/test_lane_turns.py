"""Turns at the room of a shared lane: no call is overtaken for ever, and no room is wasted."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import pairwise

import pytest

from headrace.gates.shared import SharedLane, pack_lane, unpack_lane
from headrace.gates.side import NUDGE_S
from headrace.gates.turns import LATE_S, LOOK_S, PATIENCE_S, PATIENCE_S_MAX
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket

SUCCESS = Outcome(OutcomeKind.SUCCESS)
AHEAD_S, LEAD_S, CALL_S = 0.03, 0.01, 0.5
SMALL = Load(tokens=200)


def told(*limits: Limit, width: int = 64) -> Quota:
    return Quota(width, limits, pinned=True)


MINUTE = told(Limit(Dimension.TOKENS, 60_000.0, 60.0))
STRICT = told(Limit(Dimension.TOKENS, 100.0, 0.1))


class Workers:
    """Workers that always have another call in line, each step through the bytes of the row.

    ``sent`` are the calls: the moment, the worker, what was taken.
    """

    def __init__(self, quota: Quota, loads: dict[int, Load]) -> None:
        self.lane, self.loads = SharedLane(Pacer(quota, 0.0)), loads
        self.due_s = dict.fromkeys(loads, 0.0)
        self.out = dict.fromkeys(loads, 0)
        self.ends: list[tuple[float, int, int, Ticket]] = []
        self.sent: list[tuple[float, int, Load]] = []

    def work(self, until_s: float) -> None:
        """Step each worker when it is due, or one of its calls has ended."""
        while (at_s := min(self.due_s.values())) < until_s:
            if self.ends and self.ends[0][0] <= at_s:
                self.due_s[self.ends[0][2]] = at_s = self.ends[0][0]
            for member_id in [one for one, due_s in self.due_s.items() if due_s <= at_s]:
                self.step(member_id, at_s)

    def step(self, member_id: int, now_s: float) -> None:
        """Let a worker report what has ended, take what it gets, and wake who waits for a place."""
        again = unpack_lane(pack_lane(self.lane), self.lane.pacer.quota)
        assert again is not None
        lane = self.lane = again
        while self.ends and self.ends[0][0] <= now_s:
            ended_s, _, by, ticket = heappop(self.ends)
            lane.end(lane.present(by, self.out[by]), ticket, SUCCESS, ended_s, CALL_S)
            self.out[by] -= 1
        member = lane.present(member_id, self.out[member_id])
        load = self.loads[member_id]
        while not isinstance(found := lane.give(member, load, now_s, now_s + AHEAD_S), float):
            self.sent.append((found.sent_s, member_id, load))
            self.out[member_id] += 1
            heappush(self.ends, (found.sent_s + CALL_S, len(self.sent), member_id, found))
        member.wants, member.held = 1, math.isinf(found)
        woken = [one for one, other in lane.members.items() if other.held and one != member_id]
        self.due_s[member_id] = now_s + min(LOOK_S, max(0.001, found - LEAD_S))
        if lane.call(member):
            self.due_s.update(dict.fromkeys(woken, now_s))
            self.due_s[member_id] = min(self.due_s[member_id], now_s + NUDGE_S)
        lane.leave(member_id)

    def times(self, member_id: int, since_s: float = 0.0) -> list[float]:
        """Return when a worker's calls were sent."""
        return [at_s for at_s, by, _ in self.sent if by == member_id and at_s >= since_s]

    def tokens(self, member_id: int, since_s: float = 0.0) -> int:
        """Return what a worker's calls took."""
        return len(self.times(member_id, since_s)) * self.loads[member_id].tokens


@pytest.mark.parametrize("quota", [MINUTE, STRICT])
@pytest.mark.parametrize("tokens", [400, 2000, 5000])
def test_a_large_call_is_not_overtaken_for_ever(quota: Quota, tokens: int) -> None:
    """Beside small calls without end it goes after twice the time that it takes by itself."""
    workers = Workers(quota, {1: Load(tokens=tokens), 2: SMALL})
    workers.work(120.0)
    takes_s = tokens / 1000.0
    gaps = [b - a for a, b in pairwise([20.0, *workers.times(1, 20.0)])]
    assert max(gaps) <= max(PATIENCE_S, takes_s) + takes_s + 0.5
    least = 0.45 if takes_s >= PATIENCE_S else 0.25
    for member_id in (1, 2):
        assert workers.tokens(member_id, 20.0) >= least * 100_000
    assert sum(workers.tokens(one, 20.0) for one in (1, 2)) >= 100_000 - tokens - 2000


def test_two_large_calls_take_turns_beside_small_ones() -> None:
    """Neither the smaller of the two nor the small calls are left behind."""
    workers = Workers(MINUTE, {1: Load(tokens=5000), 2: Load(tokens=3000), 3: SMALL})
    workers.work(200.0)
    for member_id in (1, 2, 3):
        assert workers.tokens(member_id, 20.0) >= 0.2 * 180_000
        assert max(b - a for a, b in pairwise(workers.times(member_id, 20.0))) <= 20.0


def test_a_small_call_is_not_starved_by_large_ones() -> None:
    """One worker of small calls beside three of large ones has nearly a quarter of it all."""
    workers = Workers(MINUTE, {1: Load(tokens=5000), 2: Load(tokens=5000), 3: Load(tokens=5000),
                               4: SMALL})  # fmt: skip
    workers.work(320.0)
    assert workers.tokens(4, 20.0) >= 0.2 * 300_000
    assert all(workers.tokens(one, 20.0) >= 0.2 * 300_000 for one in (1, 2, 3))


def waiting(lane: SharedLane, member_id: int, load: Load, now_s: float) -> float:
    """Let a worker with one call in line ask for what it cannot get."""
    member = lane.present(member_id, 0)
    found = lane.give(member, load, now_s, now_s)
    assert isinstance(found, float)
    member.wants = 1
    return found


def drained(quota: Quota, load: Load) -> SharedLane:
    """Return a lane that runs at its told rate, of which nothing is left at 0.0."""
    lane = SharedLane(Pacer(quota, -240.0), at_s=-240.0, ahead_s=-240.0)
    member = lane.present(99, 0)
    for tenth in range(-2400, 1):
        while isinstance(ticket := lane.give(member, load, tenth / 10, tenth / 10), Ticket):
            lane.end(member, ticket, SUCCESS, tenth / 10)
    lane.leave(99)
    return lane


def ask(lane: SharedLane, load: Load, now_s: float, member_id: int = 2) -> Ticket | float:
    """Let another worker ask, and end what it gets at once."""
    member = lane.present(member_id, 0)
    found = lane.give(member, load, now_s, now_s)
    if isinstance(found, Ticket):
        lane.end(member, found, SUCCESS, now_s)
    return found


def kept_for_a_large_one(now_s: float = 8.0) -> SharedLane:
    """Return a lane in which worker 1 is due for 5,000 tokens, and has just asked."""
    lane = drained(MINUTE, SMALL)
    for second in range(int(now_s)):
        waiting(lane, 1, Load(tokens=5000), float(second))
        while isinstance(ask(lane, SMALL, float(second)), Ticket):
            pass
    assert waiting(lane, 1, Load(tokens=5000), now_s) > 1.0
    assert isinstance(ask(lane, SMALL, now_s), float), "it is kept"
    return lane


def test_room_is_not_kept_for_a_worker_that_stands_still() -> None:
    """As soon as it has not looked again when it meant to, the others have all that came in."""
    lane = kept_for_a_large_one()
    assert isinstance(ask(lane, SMALL, 8.0 + LOOK_S + LATE_S - 0.01), float)
    calls = 0
    while isinstance(ask(lane, SMALL, 8.0 + LOOK_S + LATE_S + 0.01), Ticket):
        calls += 1
    assert calls >= 5, "what came in meanwhile is there"


def test_who_stood_still_has_waited_for_nothing() -> None:
    """A worker that looks once in a while only keeps no room from the others each time."""
    lane = kept_for_a_large_one()
    while isinstance(ask(lane, SMALL, 60.0), Ticket):
        pass
    waiting(lane, 1, Load(tokens=5000), 60.0)
    assert isinstance(ask(lane, SMALL, 60.3), Ticket)


@pytest.mark.parametrize("how", ["gone", "cancelled"])
def test_room_is_not_kept_for_who_is_gone(how: str) -> None:
    """When its session is gone, or nobody stands in its line any more, the others go on at once."""
    lane = kept_for_a_large_one()
    if how == "gone":
        lane.missing({1}, 8.0)
    else:
        ticket = Ticket(8.0, SMALL, 1, ())
        lane.present(1, 1).wants = 0
        lane.leave(1)
        lane.end(lane.present(1, 1), ticket, None, 8.0)
    assert isinstance(ask(lane, SMALL, 8.5), Ticket)


def test_between_calls_of_one_cost_nothing_is_kept() -> None:
    """However long one worker was unlucky, another has the room the moment that it is there."""
    lane = drained(MINUTE, SMALL)
    for second in range(60):
        while isinstance(wait_s := ask(lane, SMALL, float(second)), Ticket):
            pass
        waiting(lane, 1, SMALL, float(second))
        assert wait_s < 0.21
    assert isinstance(ask(lane, SMALL, 59.0 + wait_s), Ticket)


def test_what_a_waiting_call_does_not_need_is_free() -> None:
    """While one waits for room for images, calls without any have all the requests."""
    quota = told(Limit(Dimension.REQUESTS, 600.0, 60.0), Limit(Dimension.IMAGES, 60.0, 60.0))
    large, picture = Load(requests=2, images=10), Load(images=1)
    lane = drained(quota, picture)
    for second in range(12):
        while isinstance(ask(lane, picture, float(second)), Ticket):
            pass
        waiting(lane, 1, large, float(second))
    calls = 0
    for tenth in range(120, 190):
        if tenth % 10 == 0:
            waiting(lane, 1, large, tenth / 10)
        assert isinstance(ask(lane, picture, tenth / 10), float), "images are kept"
        calls += isinstance(ask(lane, Load(), tenth / 10), Ticket)
    assert calls >= 68


def test_a_day_s_quota_that_has_no_room_for_one_call_is_used_by_others() -> None:
    """Who has to wait for another day keeps nothing of this one's."""
    quota = told(Limit(Dimension.TOKENS, 60_000.0, 60.0), Limit(Dimension.TOKENS, 9000.0, 86_400.0))
    lane = SharedLane(Pacer(quota, 0.0))
    calls = 0
    for second in range(120):
        if second >= 30:
            waiting(lane, 1, Load(tokens=5000), float(second))
        calls += isinstance(ask(lane, SMALL, float(second)), Ticket)
    assert calls == 45


def test_after_a_pause_who_waited_longest_has_the_first_room() -> None:
    """A lane that was shut goes on with the large call that waited through it."""
    lane = drained(MINUTE, SMALL)
    member = lane.present(3, 0)
    ticket = lane.give(member, Load(tokens=1), 1.0, 2.0)
    assert isinstance(ticket, Ticket)
    lane.end(member, ticket, Outcome(OutcomeKind.RATE_LIMITED, wait_s=30.0), 1.5)
    for second in range(2, 32):
        waiting(lane, 1, Load(tokens=5000), float(second))
        assert isinstance(ask(lane, SMALL, float(second)), float)
    now_s = 32.0
    while isinstance(
        found := lane.give(lane.present(1, 0), Load(tokens=5000), now_s, now_s), float
    ):
        assert isinstance(ask(lane, SMALL, now_s), float)
        now_s += min(1.0, found)
    assert now_s <= 40.0


def test_a_large_call_has_its_turn_where_places_are_few_too() -> None:
    """Two places, one for a large call and small ones of two workers: tokens and places bind."""
    quota = told(
        Limit(Dimension.TOKENS, 60_000.0, 60.0), Limit(Dimension.CONCURRENCY, 2.0), width=2
    )
    workers = Workers(quota, {1: Load(tokens=5000), 2: SMALL, 3: SMALL})
    workers.work(120.0)
    assert max(b - a for a, b in pairwise([20.0, *workers.times(1, 20.0)])) <= 18.0
    assert workers.tokens(2, 20.0) + workers.tokens(3, 20.0) >= 50_000


def test_no_call_waits_for_its_turn_for_longer_than_a_minute() -> None:
    """Beside any number of workers a large call is waited for after the longest patience."""
    lane = drained(MINUTE, SMALL)
    for second in range(int(PATIENCE_S_MAX) + 1):
        kept = not isinstance(ask(lane, SMALL, float(second), 50), Ticket)
        for other in range(2, 42):
            waiting(lane, other, Load(tokens=6000), float(second))
        waiting(lane, 1, Load(tokens=7000), float(second))
        while isinstance(ask(lane, SMALL, float(second), 50), Ticket):
            pass
        assert kept == (second in (0, PATIENCE_S_MAX))


def test_what_waits_is_read_as_it_was_written() -> None:
    """Another worker sees the same members, with what the first in each line needs and without."""
    lane = kept_for_a_large_one()
    for _ in range(2):
        found = unpack_lane(pack_lane(lane), MINUTE)
        assert found is not None
        assert found.members == lane.members
        for member in lane.members.values():
            member.wish = None


def test_what_waits_takes_little_of_the_row() -> None:
    """A worker in line adds thirty bytes at most, and nothing where calls are requests alone."""
    lane = drained(MINUTE, SMALL)
    for member_id in range(100):
        waiting(lane, 2**30 + member_id, Load(1, 50_000, 3, 40_000), 0.123)
    size = len(pack_lane(lane))
    assert size < 8000
    for member in lane.members.values():
        member.wish = None
    assert size - len(pack_lane(lane)) <= 100 * 30
    plain = drained(told(Limit(Dimension.REQUESTS, 600.0, 60.0)), Load())
    waiting(plain, 1, Load(), 0.0)
    assert plain.members[1].wish is None
