"""What a tenant has and what moved it: balance, entries in order, and what its calls cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from headrace.errors import NotFoundError
from headrace.purse import Lot
from headrace.store import lots, statements
from headrace.store.ledger import Accounts

PAGE = 1000
BATCHES = 20
"""Batches whose calls are summed by one statement."""

FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 30, tzinfo=UTC)
ID_MAX = 2**63 - 1
_NO_BATCH = UUID(int=0)

Lend = Callable[[], AbstractAsyncContextManager[Any]]
"""Lends a connection for one page, so that a slow reader keeps none."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A tenant's micro-credits; ``unlimited``: what a submit lacks is granted at once."""

    available_microcredits: int
    held_microcredits: int
    unlimited: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where one is among entries: by time, then by number."""

    at: datetime
    id: int


BEHIND_ALL = Place(LAST, ID_MAX)


@dataclass(frozen=True, slots=True)
class Entry:
    """A transfer as the tenant sees it; ``idx`` counts from zero."""

    id: int
    kind: str
    amount_microcredits: int
    batch_id: UUID | None
    idx: int | None
    round: int | None
    attempt: int | None
    reason: str
    reference: str | None
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def place(self) -> Place:
        """Return where the entry stands among others."""
        return Place(self.created_at, self.id)

    @property
    def available_microcredits(self) -> int:
        """Return what the entry adds to the tenant's available credits."""
        return _AVAILABLE[self.kind] * self.amount_microcredits

    @property
    def held_microcredits(self) -> int:
        """Return what the entry adds to the tenant's held credits."""
        return _HELD[self.kind] * self.amount_microcredits


_AVAILABLE = {"grant": 1, "reserve": -1, "void": 1, "post": 0, "expire": -1}
_HELD = {"grant": 0, "reserve": 1, "void": -1, "post": -1, "expire": 0}


@dataclass(frozen=True, slots=True)
class Charge:
    """What the calls of a batch cost on a UTC day in one lane.

    ``basis`` is ``told`` (by the provider), ``estimated`` (from list prices) or ``unknown``,
    whose cost is ``None``.
    """

    batch_id: UUID
    day: datetime
    provider: str
    lane: str
    basis: str
    calls: int
    cost_microusd: int | None


async def balance(connection: Any, tenant_id: str) -> Balance:
    """Return what a tenant has; raises ``NotFoundError``."""
    row = await connection.fetchrow(statements.load("ledger/balance.sql"), tenant_id)
    if row is None:
        raise NotFoundError(f"there is no tenant {tenant_id[:80]!r}")
    return Balance(*row.values())


async def expiring(connection: Any, tenant_id: str) -> tuple[Balance, tuple[Lot, ...]]:
    """Return what a tenant has, and what is left of its grants that expire, the first first.

    Raises ``NotFoundError``.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        has = await balance(connection, tenant_id)
        purse = await lots.find(
            connection, tenant_id, has.available_microcredits, has.held_microcredits
        )
    return has, purse.lots


async def set_unlimited(connection: Any, tenant_id: str, unlimited: bool) -> None:
    """Let a tenant spend what it has and no more, or without a limit; raises ``NotFoundError``."""
    told = statements.load("ledger/unlimited.sql")
    if await connection.fetchval(told, tenant_id, unlimited) is None:
        raise NotFoundError(f"there is no tenant {tenant_id[:80]!r}")


async def entries(
    connection: Any, accounts: Accounts, tenant_id: str, before: Place, limit: int
) -> list[Entry]:
    """Return a tenant's entries before a place, the latest first."""
    rows = await connection.fetch(
        statements.load("ledger/tenant_newest.sql"),
        *await _ids(connection, accounts, tenant_id),
        before.at,
        before.id,
        limit,
    )
    return [Entry(*row.values()) for row in rows]


async def grants(
    connection: Any, accounts: Accounts, tenant_id: str, before: Place, limit: int
) -> list[Entry]:
    """Return a tenant's grants before a place, the latest first."""
    available, _ = await _ids(connection, accounts, tenant_id)
    rows = await connection.fetch(
        statements.load("ledger/grants.sql"), available, before.at, before.id, limit
    )
    return [Entry(*row.values()) for row in rows]


async def opening(
    connection: Any, accounts: Accounts, tenant_id: str, at: datetime
) -> tuple[int, int]:
    """Return the micro-credits that a tenant had available and held at an instant."""
    ids = await _ids(connection, accounts, tenant_id)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        now = await balance(connection, tenant_id)
        since = await connection.fetchrow(statements.load("ledger/tenant_since.sql"), *ids, at)
    return (
        now.available_microcredits - since["available"],
        now.held_microcredits - since["held"],
    )


async def period(
    lend: Lend, accounts: Accounts, tenant_id: str, begins_at: datetime, ends_at: datetime
) -> AsyncIterator[list[Entry]]:
    """Yield a tenant's entries of a period, the oldest first, in pages."""
    place = Place(begins_at, -1)
    while True:
        async with lend() as connection:
            ids = await _ids(connection, accounts, tenant_id)
            rows = await connection.fetch(
                statements.load("ledger/tenant_oldest.sql"),
                *ids,
                place.at,
                place.id,
                ends_at,
                PAGE,
            )
        page = [Entry(*row.values()) for row in rows]
        if page:
            yield page
            place = page[-1].place
        if len(page) < PAGE:
            return


async def charges(
    lend: Lend, tenant_id: str, begins_at: datetime, ends_at: datetime
) -> AsyncIterator[list[Charge]]:
    """Yield what the calls of a tenant's batches cost in a period, some batches at a time."""
    at, last = FIRST, _NO_BATCH
    while True:
        async with lend() as connection:
            found = await connection.fetch(
                statements.load("costs/batches.sql"),
                tenant_id,
                begins_at,
                ends_at,
                at,
                last,
                BATCHES,
            )
            ids = [row["id"] for row in found]
            rows = await connection.fetch(
                statements.load("costs/charges.sql"), ids, begins_at, ends_at
            )
        if rows:
            yield [Charge(*row.values()) for row in rows]
        if len(found) < BATCHES:
            return
        at, last = found[-1]["created_at"], found[-1]["id"]


async def _ids(connection: Any, accounts: Accounts, tenant_id: str) -> tuple[int, int]:
    await accounts.know(connection, {tenant_id})
    return accounts.id(tenant_id, "available"), accounts.id(tenant_id, "held")
