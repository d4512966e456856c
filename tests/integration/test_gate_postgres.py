"""The gate of many workers, on a real database: what every gate promises, and what sharing adds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise
from time import monotonic

import asyncpg
import pytest

from headrace.clock import SystemClock
from headrace.gate import Ask, Gate, LaneShutError, Permit, PermitEnd
from headrace.gates import postgres, side
from headrace.gates.drift import SPAN_S
from headrace.gates.postgres import PostgresGate, PostgresPermit
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.store.database import Database
from headrace.testing.conformance.gate_suite import GateConformance, end_all

pytestmark = pytest.mark.process  # the database's clock cannot be moved by hand
CLOCK = SystemClock()
SUCCESS = Outcome(OutcomeKind.SUCCESS)
MakeGate = Callable[[], "asyncio.Future[PostgresGate]"]


def wide(lane: str, concurrency: int) -> Ask:
    """Ask a lane that is told how many calls it bears at a time."""
    limit = Limit(Dimension.CONCURRENCY, float(concurrency))
    return Ask(lane, Quota(concurrency, (limit,), pinned=True))


def paced(lane: str, per_s: float) -> Ask:
    """Ask a lane whose rate is told, and strict: no burst."""
    return Ask(lane, Quota(1000, (Limit(Dimension.REQUESTS, per_s / 10, 0.1),), pinned=True))


@pytest.fixture
async def gates(database: Database) -> AsyncIterator[MakeGate]:
    """Open gates on one database, as several processes would."""
    async with contextlib.AsyncExitStack() as stack:

        async def make() -> PostgresGate:
            gate = PostgresGate(database, CLOCK)
            await gate.start()
            stack.push_async_callback(gate.close)
            return gate

        yield lambda: asyncio.ensure_future(make())


class TestPostgresGate(GateConformance):
    """The suite, on lanes that are shared."""

    @pytest.fixture(autouse=True)
    def _gates(self, gates: MakeGate) -> None:
        self.make = gates

    async def make_gate(self) -> Gate:
        return await self.make()

    def ask(self, lane: str, concurrency: int) -> Ask:
        return wide(lane, concurrency)

    async def settle(self) -> None:
        await CLOCK.sleep(0.05)


async def work(gate: Gate, ask: Ask, call_s: float, log: list[tuple[float, int]], by: int) -> None:
    permit = await gate.acquire(ask)
    await permit.ready()
    log.append((monotonic(), by))
    await CLOCK.sleep(call_s)
    permit.end(PermitEnd.SUCCESS, SUCCESS)


async def out_of(gate: PostgresGate, lane: str) -> int:
    """How many calls are in flight, as a gate that has just looked sees it."""
    return next((one.pacer.in_flight for one in gate.lanes() if one.name == lane), 0)


async def test_the_width_of_a_lane_holds_for_all_its_workers_together(gates: MakeGate) -> None:
    """Three gates on one lane of five places never have more than five out, and use them all."""
    three = [await gates() for _ in range(3)]
    out = most = 0

    async def call(gate: Gate) -> None:
        nonlocal out, most
        permit = await gate.acquire(wide("a", 5))
        out += 1
        most = max(most, out)
        await CLOCK.sleep(0.01)
        out -= 1
        permit.end(PermitEnd.SUCCESS, SUCCESS)

    await asyncio.gather(*(call(gate) for gate in three for _ in range(60)))
    assert most == 5


async def test_the_rate_of_a_lane_holds_for_all_its_workers_together(gates: MakeGate) -> None:
    """Four gates at 200 a second send 200 a second, evenly, not 800."""
    four = [await gates() for _ in range(4)]
    log: list[tuple[float, float]] = []
    await asyncio.gather(*(timed(g, paced("a", 200), log) for g in four for _ in range(100)))
    times = sorted(at for _, at in log)
    took_s = times[-1] - times[0]
    assert 1.6 < took_s < 2.6, "20 may go out at once, the other 380 follow at 200 a second"
    most = max(sum(1 for t in times if at <= t < at + 0.25) for at in times[20:])
    assert most <= 0.25 * 200 * 1.4 + 4


async def test_a_large_call_is_not_overtaken_for_ever_by_another_worker_s(gates: MakeGate) -> None:
    """It goes after about twice its time, while small calls of the other one still wait."""
    one, two = await gates(), await gates()
    quota = Quota(1000, (Limit(Dimension.TOKENS, 200, 0.1),), pinned=True)
    small, large = Ask("a", quota, Load(tokens=20)), Ask("a", quota, Load(tokens=2000))
    log: list[tuple[float, float]] = []
    small_ones = [asyncio.create_task(timed(one, small, log)) for _ in range(400)]
    await reach(log, 20)
    await timed(two, large, log)
    assert len(log) < 300
    await asyncio.gather(*small_ones)
    times = sorted(at for _, at in log)
    assert times[-1] - times[0] < 8.0, "5 s of work: nothing was kept for longer than it took"


async def test_workers_share_a_lane_of_one_place(gates: MakeGate) -> None:
    """Where one place goes round, nobody keeps it to itself."""
    two = [await gates() for _ in range(2)]
    log: list[tuple[float, int]] = []
    await asyncio.gather(*(work(g, wide("a", 1), 0.005, log, i) for i, g in enumerate(two)
                           for _ in range(300)))  # fmt: skip
    first_half = [by for _, by in sorted(log)[:300]]
    assert 15 <= sum(first_half) <= 285


async def test_a_freed_place_goes_to_another_worker_at_once(
    gates: MakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that waits for a place is woken; it does not find it at its next look."""
    monkeypatch.setattr(side, "LOOK_S", 3600.0)
    monkeypatch.setattr(postgres, "SWEEP_S", 3600.0)
    one, two = await gates(), await gates()
    held = await one.acquire(wide("a", 1))
    waiting = asyncio.create_task(two.acquire(wide("a", 1)))
    await CLOCK.sleep(0.2)
    assert not waiting.done()
    held.end(PermitEnd.SUCCESS, SUCCESS)
    (await asyncio.wait_for(waiting, 60)).end(PermitEnd.SUCCESS, SUCCESS)


async def test_a_refusal_holds_all_workers_back(gates: MakeGate) -> None:
    """What one worker was told, the other keeps to: nobody goes before the wait is over."""
    one, two = await gates(), await gates()
    ask = Ask("a", Quota(8))
    permit = await one.acquire(ask)
    await permit.ready()
    refused_s = monotonic()
    permit.end(PermitEnd.DROPPED, Outcome(OutcomeKind.RATE_LIMITED, wait_s=0.6))
    await CLOCK.sleep(0.05)
    permit = await two.acquire(ask)
    await permit.ready()
    assert monotonic() - refused_s >= 0.58
    permit.end(PermitEnd.SUCCESS, SUCCESS)


async def test_a_lane_that_is_shut_is_shut_for_all_until_somebody_reopens_it(
    gates: MakeGate,
) -> None:
    """Spent funds park the items of every worker; a person's word lets all try again."""
    one, two = await gates(), await gates()
    ask = Ask("a", Quota(8))
    spent = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "no credit left", wait_s=3600.0)
    (await one.acquire(ask)).end(PermitEnd.DROPPED, spent)
    await CLOCK.sleep(0.05)
    for gate in (one, two):
        with pytest.raises(LaneShutError, match="no credit left"):
            await gate.acquire(ask)
    two.reopen()
    (await two.acquire(ask)).end(PermitEnd.SUCCESS, SUCCESS)
    await CLOCK.sleep(1.1)
    (await one.acquire(ask)).end(PermitEnd.SUCCESS, SUCCESS)


async def test_a_large_batch_at_one_worker_widens_the_start_for_all(gates: MakeGate) -> None:
    """Calls on demand fill three places; a batch of 100 at another worker makes them eight."""
    one, two = await gates(), await gates()
    small = Ask("a", Quota(3, advised=True))
    first = [asyncio.create_task(one.acquire(small)) for _ in range(5)]
    await CLOCK.sleep(0.2)
    assert sum(task.done() for task in first) == 3
    large = replace(small, items=100)
    permits = await asyncio.gather(*(two.acquire(large) for _ in range(3)))
    permits += await asyncio.gather(*first)
    assert await out_of(two, "a") <= 8
    end_all(permits)


async def test_a_larger_batch_is_heard_while_others_stand_in_line(gates: MakeGate) -> None:
    """The start is widened at once, though a worker's line was not empty and nothing ended."""
    gate = await gates()
    small = Ask("a", Quota(3, advised=True))
    tasks = [asyncio.create_task(gate.acquire(small)) for _ in range(5)]
    await CLOCK.sleep(0.2)
    assert gate.waiting("a") == 2
    tasks += [asyncio.create_task(gate.acquire(replace(small, items=1000))) for _ in range(7)]
    end_all(await asyncio.gather(*tasks))


async def sign_out(gate: PostgresGate, url: str) -> None:
    """Cut a gate off, as its server would, and keep it from coming back."""
    assert gate._session is not None
    pid = gate._session._connection.get_server_pid()
    connection = await asyncpg.connect(url)
    await connection.execute("SELECT pg_terminate_backend($1)", pid)
    await connection.close()


async def test_the_permits_of_a_worker_that_is_gone_are_given_back(
    gates: MakeGate, database: Database
) -> None:
    """Its places are free again after a grace time, and not before."""
    one, two = await gates(), await gates()
    await asyncio.gather(*(one.acquire(wide("a", 3)) for _ in range(3)))
    waiting = asyncio.create_task(two.acquire(wide("a", 3)))
    await CLOCK.sleep(0.1)
    assert one._session is not None
    one._closing = True  # as dead as it can be within one process
    one._wake.set()
    one._session.terminate()
    gone_s = monotonic()
    permit = await asyncio.wait_for(waiting, 6.0)
    assert monotonic() - gone_s >= 1.0, "its calls may have been running still"
    permit.end(PermitEnd.SUCCESS, SUCCESS)


async def timed(gate: PostgresGate, ask: Ask, log: list[tuple[float, float]]) -> None:
    """Make one call; note when its permit was given, and the moment it is for by the lane's clock.

    When its task gets to run says how busy the machine is, not what the gate decided.
    """
    permit = await gate.acquire(ask)
    assert isinstance(permit, PostgresPermit)
    log.append((permit._given_s, permit._ticket.sent_s))
    await permit.ready()
    assert CLOCK.monotonic_s() >= permit._at_s - 0.002, "nobody goes before the moment"
    permit.end(PermitEnd.SUCCESS, SUCCESS)


async def reach(log: list[tuple[float, float]], count: int, after_s: float = 0.0) -> None:
    """Wait until so many permits were given after a moment."""
    async with asyncio.timeout(60):
        while sum(given_s >= after_s for given_s, _ in log) < count:
            await CLOCK.sleep(0.01)


async def test_who_was_cut_off_goes_on_at_half_and_comes_back(
    gates: MakeGate, database_url: str
) -> None:
    """A worker whose session is lost neither stops nor bursts, and its permits count again."""
    gate = await gates()
    log: list[tuple[float, float]] = []
    sending = [asyncio.create_task(timed(gate, paced("a", 300), log)) for _ in range(900)]
    await reach(log, 400)
    open_, lose, side = gate._sign_in, gate._lose, gate._sides["a"]
    lost: asyncio.Future[tuple[float, float, int]] = asyncio.get_running_loop().create_future()

    async def refuse() -> None:
        raise OSError("the server is away")

    def note(why: str) -> None:
        lost_s = CLOCK.monotonic_s()
        lose(why)
        assert side.drift is not None
        if not lost.done():
            lost.set_result((lost_s, side.drift.rate, len(side.share.given)))

    gate._sign_in, gate._lose = refuse, note  # type: ignore[assignment, method-assign]
    await sign_out(gate, database_url)
    lost_s, rate, share = await asyncio.wait_for(lost, 60)
    assert share >= 100
    assert rate == pytest.approx(0.5 * share / SPAN_S), "half of what it was given"
    await reach(log, 20, after_s=lost_s)
    gate._sign_in, gate._lose = open_, lose  # type: ignore[method-assign]
    alone = sorted(given_s for given_s, _ in log if given_s >= lost_s)[:20]
    # A busy machine may send later than this, never closer together.
    assert min(b - a for a, b in pairwise([lost_s, *alone])) >= 0.95 / rate
    await asyncio.gather(*sending)
    async with asyncio.timeout(60):  # every permit comes back, those given alone too
        while await out_of(gate, "a") != 0:
            await CLOCK.sleep(0.01)
    times = sorted(at for _, at in log)
    assert max(sum(1 for t in times if at <= t < at + 0.2) for at in times) <= 90 + 0.2 * rate


async def away(gate: PostgresGate, url: str) -> Callable[[], None]:
    """Take the database away from a gate, as a restart does; returns what brings it back."""
    open_ = gate._sign_in

    async def refuse() -> None:
        raise OSError("the server is away")

    gate._sign_in = refuse  # type: ignore[assignment, method-assign]
    await sign_out(gate, url)
    async with asyncio.timeout(60):
        while gate._session is not None:
            await CLOCK.sleep(0.01)

    def back() -> None:
        gate._sign_in = open_  # type: ignore[method-assign]

    return back


async def test_a_lane_that_is_first_asked_for_while_the_database_is_away_waits_for_it(
    gates: MakeGate, database_url: str
) -> None:
    """Nobody knows its share: nothing is sent meanwhile, and all goes on when it is back."""
    gate = await gates()
    bring_back = await away(gate, database_url)
    waiting = [asyncio.create_task(gate.acquire(wide("new", 3))) for _ in range(2)]
    await CLOCK.sleep(0.3)
    assert not any(task.done() for task in waiting)
    bring_back()
    for permit in await asyncio.wait_for(asyncio.gather(*waiting), 30.0):
        permit.end(PermitEnd.SUCCESS, SUCCESS)


async def test_a_fault_of_the_gate_reaches_those_who_wait_and_ends_nothing(
    gates: MakeGate, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stands in line hears of it; the next in line are served."""
    gate = await gates()
    bring_back = await away(gate, database_url)

    def break_(lane: side.LaneSide, now_s: float) -> float:
        raise RuntimeError("a fault")

    with monkeypatch.context() as broken:
        broken.setattr(side.LaneSide, "go_on", break_)
        with pytest.raises(RuntimeError, match="a fault"):
            await asyncio.wait_for(gate.acquire(wide("a", 3)), 30.0)
    bring_back()
    permit = await asyncio.wait_for(gate.acquire(wide("a", 3)), 30.0)
    permit.end(PermitEnd.SUCCESS, SUCCESS)


async def test_two_lanes_settle_to_nothing_out(gates: MakeGate) -> None:
    """After any amount of work, by anybody, nothing is in flight in the row."""
    two = [await gates() for _ in range(2)]
    log: list[tuple[float, int]] = []
    await asyncio.gather(*(work(g, wide(lane, 7), 0.002, log, i) for i, g in enumerate(two)
                           for lane in ("a", "b") for _ in range(50)))  # fmt: skip
    await CLOCK.sleep(0.15)
    permits: list[Permit] = []
    for lane in ("a", "b"):
        permits += await asyncio.gather(*(two[0].acquire(wide(lane, 7)) for _ in range(7)))
        assert await out_of(two[0], lane) == 7
    end_all(permits)
