"""A tenant's cap of calls in flight holds for all workers of a lane together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from time import monotonic

import asyncpg
import pytest

from headrace.clock import SystemClock
from headrace.gate import Ask, Gate, PermitEnd
from headrace.gates import side
from headrace.gates.postgres import PostgresGate
from headrace.limits import Dimension, Limit, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.store.database import Database

pytestmark = pytest.mark.process  # the database's clock cannot be moved by hand
CLOCK = SystemClock()
SUCCESS = Outcome(OutcomeKind.SUCCESS)
MakeGate = Callable[[], "asyncio.Future[PostgresGate]"]


def asks(tenant_id: str, calls_max: int | None, width: int = 20) -> Ask:
    """Ask a lane of a told width for one of a tenant's."""
    quota = Quota(width, (Limit(Dimension.CONCURRENCY, float(width)),), pinned=True)
    return Ask("lane", quota, tenant_id=tenant_id, calls_max=calls_max)


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


class Log:
    """How many calls each tenant has in flight now, had at most, and of which worker they were."""

    def __init__(self) -> None:
        self.out: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.by: Counter[tuple[str, int]] = Counter()
        self.waited_s: list[float] = []

    async def work(self, gate: Gate, ask: Ask, by: int, call_s: float = 0.02) -> None:
        """Make one call."""
        began_s = monotonic()
        permit = await gate.acquire(ask)
        self.waited_s.append(monotonic() - began_s)
        name = ask.tenant_id
        self.out[name] += 1
        self.most[name] = max(self.most[name], self.out[name])
        await CLOCK.sleep(call_s)
        self.out[name] -= 1
        self.by[name, by] += 1
        permit.end(PermitEnd.SUCCESS, SUCCESS, call_s)


async def test_a_cap_holds_for_all_workers_together_and_others_go_on(gates: MakeGate) -> None:
    """Three workers: two of a tenant's calls in flight, all of its items made, others not held."""
    log, made = Log(), [await gates() for _ in range(3)]
    capped = [
        log.work(gate, asks("capped", 2), at) for at, gate in enumerate(made) for _ in range(20)
    ]
    others = [
        log.work(gate, asks("other", None), at) for at, gate in enumerate(made) for _ in range(60)
    ]
    held = asyncio.gather(*capped)
    async with asyncio.timeout(60):
        await asyncio.gather(*others)
        assert not held.done()
        await held
    assert log.most["capped"] == 2
    assert log.most["other"] > 6
    assert [log.by["capped", at] for at in range(3)] == [20, 20, 20]


async def test_a_place_at_a_cap_goes_to_another_worker_that_waits_longer(gates: MakeGate) -> None:
    """One that has hundreds of a tenant's in line lets another worker's single one go soon.

    An interactive request on one worker does not wait until a tenant's batch on another is over.
    """
    log, one, two = Log(), await gates(), await gates()
    bulk = [asyncio.create_task(log.work(one, asks("t", 1), 1)) for _ in range(300)]
    async with asyncio.timeout(30):
        while not log.by["t", 1]:
            await CLOCK.sleep(0.01)
        single = Log()
        await single.work(two, asks("t", 1), 2)
    done = log.by["t", 1]
    for task in bulk:
        task.cancel()
    await asyncio.gather(*bulk, return_exceptions=True)
    assert done < 100, (done, single.waited_s)


async def test_who_waits_at_a_cap_is_woken_when_it_has_room(
    gates: MakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's call that ends is heard of, not looked for each second."""
    monkeypatch.setattr(side, "LOOK_S", 300.0)
    log, one, two = Log(), await gates(), await gates()
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(
                log.work(gate, asks("t", 1), at)
                for _ in range(10)
                for at, gate in ((1, one), (2, two))
            )
        )
    assert log.by == {("t", 1): 10, ("t", 2): 10}


async def test_a_cap_alone_keeps_no_worker_from_the_rest_of_the_lane(gates: MakeGate) -> None:
    """Workers whose lines are all at a cap take no share of the lane's width from the others."""
    log, made = Log(), [await gates() for _ in range(4)]
    capped = [
        asyncio.create_task(log.work(gate, asks("capped", 1, 8), at, 0.2))
        for at, gate in enumerate(made[:3])
        for _ in range(5)
    ]
    async with asyncio.timeout(30):
        while not log.out["capped"]:
            await CLOCK.sleep(0.01)
        lanes = [gate._sides["lane"].shared for gate in made[:3]]
        members = [one for lane in lanes if lane is not None for one in lane.members.values()]
        assert not any(one.held or one.wants for one in members)
        await asyncio.gather(*(log.work(made[3], asks("other", None, 8), 3) for _ in range(80)))
    for task in capped:
        task.cancel()
    await asyncio.gather(*capped, return_exceptions=True)
    assert log.most["other"] >= 7
    assert log.most["capped"] == 1


async def test_the_places_of_a_worker_that_is_gone_are_free_again(
    gates: MakeGate, database: Database
) -> None:
    """What a lost process had in flight counts under the cap while its calls may run, no longer."""
    one, two = await gates(), await gates()
    for _ in range(2):
        await one.acquire(asks("t", 2))
    waiting = asyncio.create_task(two.acquire(asks("t", 2)))
    await CLOCK.sleep(0.3)
    assert not waiting.done()
    session = one._session
    assert session is not None
    one._session, task = None, one._task
    assert task is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    one._task = None
    session.terminate()
    async with asyncio.timeout(30):
        permit = await waiting
    permit.end(PermitEnd.SUCCESS, SUCCESS, 0.02)


async def test_the_row_stays_small_under_caps(gates: MakeGate, database: Database) -> None:
    """Two hundred capped tenants with a call each: the row stays a few kilobytes."""
    gate = await gates()
    permits = await asyncio.gather(
        *(gate.acquire(asks(f"tenant {at}", 2, 300)) for at in range(200))
    )
    connection: asyncpg.Connection
    async with database.acquire() as connection:
        size = await connection.fetchval("SELECT max(length(state)) FROM lane_pace")
    assert size < 6000
    for permit in permits:
        permit.end(PermitEnd.SUCCESS, SUCCESS, 0.02)
