"""What every database that holds our tables promises: point it at your own PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from headrace.event import EventKind
from headrace.store import batches, ledger, shards, statements
from headrace.store.audit import verify
from headrace.store.batches import NewBatch
from headrace.store.database import Database
from headrace.store.ledger import Accounts, Transfer
from headrace.store.new_items import NewItem
from headrace.store.progress import Deltas

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CREDIT = 1_000_000


class StoreConformance:
    """Subclass as ``class TestMine(StoreConformance)`` and override ``make_database``."""

    async def make_database(self) -> Database:
        """Return a fresh, migrated database (``headrace.store.database``)."""
        raise NotImplementedError

    async def test_every_statement_can_be_prepared(self) -> None:
        """Each ``.sql`` file is one statement that the server understands."""
        database = await self.make_database()
        async with database.acquire() as connection:
            for name in statements.names():
                await connection.prepare(statements.load(name))

    async def test_the_ledger_is_append_only(self) -> None:
        """No transfer can be changed or removed."""
        database = await self.make_database()
        batch_id = await submit(database, 1)
        for sql in ("audit_update", "audit_delete"):
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                async with database.transaction() as connection:
                    await connection.execute(_FORBIDDEN[sql], batch_id)

    async def test_no_balance_goes_below_zero(self) -> None:
        """Held credits cannot be paid out twice, whoever asks."""
        database = await self.make_database()
        batch_id = await submit(database, 1)
        accounts = Accounts()
        async with database.acquire() as connection:
            await accounts.know(connection, {"default"})
        with pytest.raises(asyncpg.CheckViolationError):
            async with database.transaction() as connection:
                await ledger.write(connection, [post(accounts, batch_id, 2 * CREDIT)], NOON)

    async def test_an_item_is_settled_once(self) -> None:
        """A second post of the same item and round is refused by the database itself."""
        database = await self.make_database()
        batch_id = await submit(database, 3)
        accounts = Accounts()
        async with database.transaction() as connection:
            await accounts.know(connection, {"default"})
            await ledger.write(connection, [post(accounts, batch_id, CREDIT)], NOON)
        with pytest.raises(asyncpg.UniqueViolationError):
            async with database.transaction() as connection:
                await ledger.write(connection, [post(accounts, batch_id, CREDIT)], NOON)

    async def test_a_claim_moves_the_fence(self) -> None:
        """Each claim of a shard gives a higher token than the one before."""
        database = await self.make_database()
        batch_id = await submit(database, 1)
        fences = []
        async with database.transaction() as connection:
            shard_id = await shards.cut_for_now(connection, batch_id, NOON)
        for worker_id in (1, 2, 3):
            async with database.transaction() as connection:
                claim = await shards.claim(connection, shard_id, worker_id)
                assert claim is not None
                fences.append(claim.fence)
        assert fences == [1, 2, 3]

    async def test_events_are_numbered_without_gaps(self) -> None:
        """Transactions that race number a batch's events in the order of their commits."""
        database = await self.make_database()
        batch_id = await submit(database, 1)

        async def tell(number: int) -> None:
            async with database.transaction() as connection:
                deltas = Deltas()
                told = (EventKind.ITEM_WAITING, 0, json.dumps({"number": number}))
                deltas.of(batch_id).events.append(told)
                await deltas.write(connection, NOON)

        await asyncio.gather(*(tell(number) for number in range(20)))
        async with database.acquire() as connection:
            rows = await connection.fetch(statements.load("events/read.sql"), batch_id, 0, 100)
        assert [row["seq"] for row in rows] == list(range(1, 22))

    async def test_a_fresh_submit_passes_the_audit(self) -> None:
        """What a submit writes adds up."""
        database = await self.make_database()
        await submit(database, 5)
        async with database.acquire() as connection:
            assert await verify(connection) == []


_FORBIDDEN = {
    "audit_update": "update transfer set amount_microcredits = 1 where batch_id = $1",
    "audit_delete": "delete from transfer where batch_id = $1",
}


async def submit(database: Database, items: int) -> UUID:
    """Submit a batch of ``items`` at one credit each."""
    new = NewBatch(
        id=uuid4(),
        tenant_id="default",
        name="conformance",
        class_name="batch",
        recipe_name="none",
        recipe_version=b"none",
        recipe="{}",
        columns=None,
        cache_mode="off",
        unknown_policy="retry",
        idempotency_key=None,
        request_digest=None,
        reserve_microcredits=CREDIT,
        source="{}",
    )
    async with database.transaction() as connection:
        given = (NewItem("{}") for _ in range(items))
        batch_id, _ = await batches.submit(connection, Accounts(), new, given, NOON)
    return batch_id


def post(accounts: Accounts, batch_id: UUID, amount: int) -> Transfer:
    """Return the transfer that charges the first item of a batch."""
    return Transfer(
        "post",
        accounts.id("default", "held"),
        accounts.id(None, "revenue"),
        amount,
        batch_id,
        0,
        1,
        1,
        "conformance",
    )
