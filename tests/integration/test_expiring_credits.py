"""Grants that expire: what is left of them leaves once, what is spent in time stays spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import ConflictError, InsufficientCreditsError, UsageError
from headrace.loops.expirer import Expirer
from headrace.store import credits, ledger, tenants
from headrace.store.audit import verify
from headrace.store.ledger import Granted
from headrace.submission import Terms
from headrace.testing import ManualClock
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import recipe, rows
from tests.integration.test_tenants import fail_all

CREDIT = 1_000_000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Bank:
    """A tenant that may spend what it is granted, at a credit an item; nothing is made."""

    engine: Engine
    clock: ManualClock

    async def grant(self, amount: int, hours: int | None, reference: str | None = None) -> Granted:
        """Grant credits that expire so many hours after noon."""
        until = None if hours is None else NOON + hours * HOUR
        async with self.engine.database.transaction() as connection:
            accounts, now = self.engine.accounts, self.clock.now()
            return await ledger.grant(
                connection, accounts, "acme", amount * CREDIT, "test", now, reference, until
            )

    async def submit(self, count: int) -> Batch:
        """Set so many credits aside."""
        terms = Terms(tenant_id="acme", canary=0)
        return await self.engine.submit(rows(count), recipe(), columns=["t"], terms=terms)

    async def look(self) -> None:
        """Let the expirer look once."""
        await Expirer(self.engine.database, self.clock).tick()

    async def has(self) -> tuple[int, int, list[tuple[int, int]]]:
        """Whole credits available and held, and of each lot; the audit finds nothing."""
        async with self.engine.database.acquire() as connection:
            assert await verify(connection) == []
            has, lots = await credits.expiring(connection, "acme")
        parts = [(lot.available // CREDIT, lot.held // CREDIT) for lot in lots]
        return has.available_microcredits // CREDIT, has.held_microcredits // CREDIT, parts

    async def entries(self, kind: str) -> list[Any]:
        """The tenant's entries of a kind, the oldest first."""
        async with self.engine.database.acquire() as connection:
            found = await credits.entries(
                connection, self.engine.accounts, "acme", credits.BEHIND_ALL, 500
            )
        return [one for one in reversed(found) if one.kind == kind]


@pytest.fixture
async def bank(database_url: str, tmp_path: Path) -> AsyncIterator[Bank]:
    clock = ManualClock(NOON)
    config = Config(home=str(tmp_path), database_url=database_url)
    async with open_engine(
        config, providers={"scripted": Scripted()}, clock=clock, work=False
    ) as engine:
        async with engine.database.transaction() as connection:
            await tenants.make(connection, "acme", NOON)
        yield Bank(engine, clock)


async def test_what_is_left_at_the_end_of_a_grant_leaves_once(bank: Bank) -> None:
    """One entry of its own kind, however often and by how many it is looked for."""
    made = await bank.grant(5, 1)
    await bank.grant(2, None)
    await bank.submit(1)
    bank.clock.step_wall(3599)
    await bank.look()
    assert await bank.has() == (6, 1, [(4, 1)])
    bank.clock.step_wall(1)
    await asyncio.gather(*(bank.look() for _ in range(8)))
    assert await bank.has() == (2, 1, [(0, 1)])
    (gone,) = await bank.entries("expire")
    assert (gone.amount_microcredits, gone.reason) == (4 * CREDIT, f"grant {made.id} expired")
    assert (gone.available_microcredits, gone.held_microcredits) == (-4 * CREDIT, 0)
    (first, second) = await bank.entries("grant")
    assert (first.expires_at, second.expires_at) == (NOON + HOUR, None)


async def test_what_expires_first_is_spent_first(bank: Bank) -> None:
    """Grants in any order; of three that a batch takes, the last to expire is whole."""
    await bank.grant(2, 3)
    await bank.grant(9, None)
    await bank.grant(2, 1)
    await bank.grant(2, 2)
    await bank.submit(3)
    assert await bank.has() == (12, 3, [(0, 2), (1, 1), (2, 0)])


async def test_credits_past_their_time_are_not_spent_before_the_look(bank: Bank) -> None:
    """A submit that comes before the expirer takes nothing of them, and expires them itself."""
    await bank.grant(5, 1)
    await bank.grant(1, None)
    bank.clock.step_wall(3600)
    with pytest.raises(InsufficientCreditsError) as caught:
        await bank.submit(2)
    assert caught.value.facts["available_microcredits"] == CREDIT
    assert await bank.entries("expire") == []
    await bank.submit(1)
    assert await bank.has() == (0, 1, [])
    assert len(await bank.entries("expire")) == 1


async def test_what_comes_back_after_the_end_expires_then(bank: Bank) -> None:
    """Credits that were held at the end may be spent; those that were not go when they return."""
    await bank.grant(5, 1)
    batch = await bank.submit(3)
    bank.clock.step_wall(3600)
    await bank.look()
    assert await bank.has() == (0, 3, [(0, 3)])
    await fail_all(bank.engine, batch, CREDIT)
    assert await bank.has() == (3, 0, [(3, 0)])
    await bank.look()
    await bank.look()
    assert await bank.has() == (0, 0, [])
    assert [one.amount_microcredits for one in await bank.entries("expire")] == [
        2 * CREDIT,
        3 * CREDIT,
    ]


async def test_a_cancelled_batch_gives_credits_back_to_the_grants_that_last(bank: Bank) -> None:
    """What comes back is counted among those that expire last, and can be spent until then."""
    await bank.grant(2, 1)
    await bank.grant(2, 2)
    batch = await bank.submit(4)
    await batch.cancel()
    assert await bank.has() == (4, 0, [(2, 0), (2, 0)])
    bank.clock.step_wall(3600)
    await bank.submit(2)
    assert await bank.has() == (0, 2, [(0, 2)])


async def test_submits_and_expiry_at_once_lose_and_make_nothing(bank: Bank) -> None:
    """At the very end of a grant, whatever comes first, what was held may be used, and no more."""
    await bank.grant(6, 1)
    await bank.grant(4, None)
    before = [await bank.submit(1) for _ in range(3)]
    bank.clock.step_wall(3600)
    ends = await asyncio.gather(
        *(bank.submit(1) for _ in range(10)),
        *(bank.look() for _ in range(10)),
        *(batch.cancel() for batch in before),
        return_exceptions=True,
    )
    refused = [end for end in ends if isinstance(end, BaseException)]
    assert all(isinstance(end, InsufficientCreditsError) for end in refused), refused
    await bank.look()
    available, held, lots = await bank.has()
    spent = sum(isinstance(end, Batch) for end in ends)
    left = sum(sum(lot) for lot in lots)
    assert (available + held, held) == (4 + left, spent)
    assert left <= 3, "more is in use than was held at the end"
    gone = sum(one.amount_microcredits for one in await bank.entries("expire"))
    assert gone == (6 - left) * CREDIT


async def test_a_tenant_without_a_limit_may_have_such_grants(bank: Bank) -> None:
    """What it lacks is granted beside them, and they expire as any."""
    async with bank.engine.database.transaction() as connection:
        await credits.set_unlimited(connection, "acme", True)
    await bank.grant(2, 1)
    await bank.submit(5)
    assert await bank.has() == (0, 5, [(0, 2)])
    await bank.grant(3, 1)
    bank.clock.step_wall(3600)
    await bank.submit(1)
    assert await bank.has() == (0, 6, [(0, 2)])


async def test_a_grant_that_is_over_or_other_than_before_is_refused(bank: Bank) -> None:
    """An end in the past is none, and of one reference there is one end."""
    with pytest.raises(UsageError):
        await bank.grant(1, 0)
    made = await bank.grant(1, 1, "r")
    assert await bank.grant(1, 1, "r") == ledger.Granted(
        made.id, CREDIT, "test", NOON, False, NOON + HOUR
    )
    for hours in (2, None):
        with pytest.raises(ConflictError, match="until 2026-03-01T13"):
            await bank.grant(1, hours, "r")
    bank.clock.step_wall(7200)
    assert not (await bank.grant(1, 1, "r")).is_new


async def test_the_expirer_goes_through_all_who_are_due(bank: Bank) -> None:
    """More tenants than a page of them has; those with time left keep theirs."""
    count = 105
    async with bank.engine.database.transaction() as connection:
        for number in range(count):
            name = f"t{number}"
            await tenants.make(connection, name, NOON)
            until = NOON + (2 if number == 50 else 1) * HOUR
            await ledger.grant(
                connection, bank.engine.accounts, name, CREDIT, "x", NOON, None, until
            )
    bank.clock.step_wall(3600)
    await bank.look()
    async with bank.engine.database.acquire() as connection:
        left = await connection.fetch("SELECT tenant_id FROM credit_lot")
        assert [row["tenant_id"] for row in left] == ["t50"]
        assert await verify(connection) == []
