"""Shares of lanes: a schedule's calls are no faster and no wider than its share."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headrace.gate import LaneNow
from headrace.hours import Hours, read_windows
from headrace.lane_share import LaneShares, width_of
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.order import Order
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, takes_s
from headrace.purchase import Bought
from headrace.recovery import Again
from headrace.surroundings import Released
from headrace.testing.manual_clock import ManualClock, settle

LOAD = Load(1, 100, 0)


def quota(*limits: Limit, width: int = 8) -> Quota:
    return Quota(width, limits, pinned=True)


def lane_now(told: Quota, workers: int = 1) -> LaneNow:
    return LaneNow("lane", Pacer(told, 0.0), 0.0, 0, None, workers)


def order(hours: Hours, told: Quota, schedule: str = "sch_1") -> Order:
    """An order of a batch, as far as shares look at it."""
    batch = SimpleNamespace(hours=hours, schedule=schedule, id="b")
    option = SimpleNamespace(lane="lane", batches=None)
    provider = SimpleNamespace(quota=told, load=lambda request: LOAD)
    made = SimpleNamespace(
        item=SimpleNamespace(batch=batch),
        again=None,
        option=option,
        provider=provider,
        request=None,
    )
    return cast("Order", made)


class Rig:
    """Callers that want places of one lane, and when each got one."""

    def __init__(self, told: Quota, workers: int = 1, begins: datetime | None = None) -> None:
        self.clock = ManualClock(begins or datetime(2026, 1, 1, tzinfo=UTC))
        self.told, self.now = told, lane_now(told, workers)
        self.shares = LaneShares(self.clock, lambda: [self.now])
        self.stopping = asyncio.Event()
        self.sent: list[float] = []
        self.out = self.most = 0

    async def call(self, hours: Hours, takes_s: float = 0.0, schedule: str = "sch_1") -> None:
        async with self.shares.place(order(hours, self.told, schedule), self.stopping):
            self.sent.append(self.clock.monotonic_s())
            self.out += 1
            self.most = max(self.most, self.out)
            if takes_s:
                await self.clock.sleep(takes_s)
            self.out -= 1

    def start(self, count: int, hours: Hours, *more: Any) -> asyncio.Future[Any]:
        return asyncio.gather(
            *(self.call(hours, *more) for _ in range(count)), return_exceptions=True
        )


RPM_60 = Limit(Dimension.REQUESTS, 60, 60.0)


async def test_a_share_of_a_rate_is_not_passed() -> None:
    """30 % of 60 calls a minute are 18 in each minute, however many want to go."""
    rig = Rig(quota(RPM_60))
    calls = rig.start(60, Hours(share=0.3))
    await rig.clock.advance(120)
    assert 35 <= len(rig.sent) <= 37
    rig.stopping.set()
    await calls


async def test_the_rate_that_binds_counts() -> None:
    """Tokens bind before requests: the share is of the tokens."""
    told = quota(RPM_60, Limit(Dimension.TOKENS, 600, 60.0))
    lane = lane_now(told)
    assert takes_s(lane.pacer, LOAD) == pytest.approx(10, rel=0.1)
    assert takes_s(lane_now(quota()).pacer, LOAD) == 0.0


async def test_a_share_of_the_calls_in_flight_is_not_passed() -> None:
    """Of 8 in flight a quarter is 2, of few it is 1; several workers share it."""
    rig = Rig(quota())
    calls = rig.start(10, Hours(share=0.25), 5.0)
    await rig.clock.advance(60)
    await calls
    assert (rig.most, len(rig.sent)) == (2, 10)
    assert width_of(0.1, quota(), lane_now(quota())) == 1
    assert width_of(0.5, quota(), lane_now(quota(), workers=2)) == 2
    assert width_of(0.5, quota(width=6), None) == 3


async def test_without_a_share_nobody_waits_and_schedules_have_their_own() -> None:
    """A batch without hours is not looked at; another schedule has a share of its own."""
    rig = Rig(quota(RPM_60))
    await rig.start(20, Hours())
    assert len(rig.sent) == 20
    await rig.call(Hours(share=0.1), schedule="sch_2")
    await rig.call(Hours(share=0.1), schedule="sch_3")
    assert rig.clock.monotonic_s() == 0.0


async def test_a_window_has_its_share_and_shut_means_waiting_a_moment() -> None:
    """In the window its share holds; after it nothing starts, until whoever resumed it wants so."""
    hours = Hours("UTC", read_windows(["22:00-06:00=50%"], "windows"))
    rig = Rig(quota(), begins=datetime(2026, 1, 1, 5, 59, 50, tzinfo=UTC))
    calls = rig.start(12, hours, 4.0)
    await rig.clock.advance(9)
    assert rig.most == 4
    before = len(rig.sent)
    await rig.clock.advance(4)
    assert len(rig.sent) == before
    await rig.clock.advance(60)
    await calls
    assert len(rig.sent) == 12


async def test_what_is_bought_already_waits_for_no_share() -> None:
    """Who has the result of an earlier call, or follows it to its end, calls nobody anew."""
    rig, hours = Rig(quota(RPM_60)), Hours(share=0.01)
    await rig.call(hours)
    bought = Bought(Outcome(OutcomeKind.SUCCESS), 1.0)
    for again in (Again(1, 1, bought=bought), Again(1, 1, resume=("job-1", None))):
        kept = order(hours, rig.told)
        kept.again = again
        async with rig.shares.place(kept, rig.stopping):
            assert rig.clock.monotonic_s() == 0.0


async def test_who_waits_is_released_when_the_process_stops() -> None:
    """Nobody who waits for a share holds up the end."""
    rig = Rig(quota(RPM_60))
    calls = rig.start(5, Hours(share=0.01))
    await rig.clock.advance(1)
    rig.stopping.set()
    await settle()
    ended = await asyncio.wait_for(calls, 5)
    assert sum(isinstance(one, Released) for one in ended) == 4


async def test_who_is_cancelled_leaves_the_line_to_the_others() -> None:
    """The next one goes at its moment although the one before it was sent away."""
    rig = Rig(quota(), begins=None)
    first = asyncio.create_task(rig.call(Hours(share=0.1), 5.0))
    await settle()
    second = asyncio.create_task(rig.call(Hours(share=0.1)))
    third = asyncio.create_task(rig.call(Hours(share=0.1)))
    await settle()
    second.cancel()
    await rig.clock.advance(10)
    await asyncio.gather(first, third)
    assert len(rig.sent) == 2
