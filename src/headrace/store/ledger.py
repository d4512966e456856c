"""Transfers and balances: double entry, append-only, one row for each movement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.errors import (
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    UsageError,
)
from headrace.price import CREDITS_MAX, credits
from headrace.purse import Lot, Purse
from headrace.store import lots, statements


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement of micro-credits from the debit to the credit account."""

    kind: str
    debit_account_id: int
    credit_account_id: int
    amount_microcredits: int
    batch_id: UUID | None
    idx: int | None
    round: int | None
    attempt: int | None
    reason: str


class Accounts:
    """Account ids by tenant and kind, read once: accounts are made and never change."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str | None, str], int] = {}

    async def know(self, connection: Any, tenant_ids: set[str]) -> None:
        """Load the accounts of ``tenant_ids`` and of the platform if they are not known yet."""
        unknown = [name for name in tenant_ids if (name, "held") not in self._ids]
        if not unknown and self._ids:
            return
        for row in await connection.fetch(statements.load("ledger/accounts.sql"), unknown):
            self._ids[row["tenant_id"], row["kind"]] = row["id"]

    def id(self, tenant_id: str | None, kind: str) -> int:
        """Return the account's id; raises ``NotFoundError`` for an unknown tenant."""
        try:
            return self._ids[tenant_id, kind]
        except KeyError:
            raise NotFoundError(f"there is no account {tenant_id}:{kind}") from None


async def write(connection: Any, transfers: list[Transfer], now: datetime) -> None:
    """Write transfers and move the balances by their sums, in the caller's transaction.

    The table's constraints refuse a negative balance and a second settle of an item.
    """
    if not transfers:
        return
    sums: dict[int, int] = {}
    for t in transfers:
        sums[t.debit_account_id] = sums.get(t.debit_account_id, 0) - t.amount_microcredits
        sums[t.credit_account_id] = sums.get(t.credit_account_id, 0) + t.amount_microcredits
    ids = sorted(sums)
    await connection.execute(
        statements.load("ledger/move.sql"), ids, [sums[account_id] for account_id in ids]
    )
    await connection.execute(
        statements.load("ledger/write.sql"),
        [t.kind for t in transfers],
        [t.debit_account_id for t in transfers],
        [t.credit_account_id for t in transfers],
        [t.amount_microcredits for t in transfers],
        [t.batch_id for t in transfers],
        [t.idx for t in transfers],
        [t.round for t in transfers],
        [t.attempt for t in transfers],
        [t.reason for t in transfers],
        now,
    )


async def reserve(
    connection: Any,
    accounts: Accounts,
    tenant_id: str,
    amount_microcredits: int,
    batch_id: UUID,
    now: datetime,
    reason: str = "submit",
) -> None:
    """Move credits from available to held, all of them or none.

    A tenant without a limit is granted what is missing, as a transfer of its own, so
    that every balance stays true. Credits past their time expire first. Raises
    ``InsufficientCreditsError``.
    """
    if amount_microcredits == 0:
        return
    if amount_microcredits > CREDITS_MAX:
        raise UsageError(
            f"{credits(amount_microcredits)} credits are more than can be set aside at once",
            remedy="Submit fewer rows at a time, or look at the prices.",
        )
    await accounts.know(connection, {tenant_id})
    available, held = accounts.id(tenant_id, "available"), accounts.id(tenant_id, "held")
    row = await connection.fetchrow(statements.load("ledger/lock_available.sql"), tenant_id)
    missing = amount_microcredits - row["balance_microcredits"]
    purse = await lots.hold(connection, tenant_id)
    if purse is not None:
        purse, gone = await _expire(connection, accounts, tenant_id, purse, now)
        missing += gone
    transfers: list[Transfer] = []
    if missing > 0:
        if not row["unlimited"]:
            raise _insufficient(tenant_id, amount_microcredits, missing)
        grants = accounts.id(None, "grants")
        transfers.append(
            Transfer("grant", grants, available, missing, batch_id, None, None, None, "unlimited")
        )
    transfers.append(
        Transfer(
            "reserve", available, held, amount_microcredits, batch_id, None, None, None, reason
        )
    )
    await write(connection, transfers, now)
    if purse is not None:
        has = replace(purse, available=purse.available + max(0, missing))
        await lots.keep(connection, tenant_id, has.reserved(amount_microcredits))


async def expire(connection: Any, accounts: Accounts, tenant_id: str, now: datetime) -> int:
    """Take back what is left of a tenant's grants whose time is over, in the caller's transaction.

    What is held of them may still be spent, and expires when it comes back. Returns the
    micro-credits that were taken.
    """
    await accounts.know(connection, {tenant_id})
    await connection.fetchrow(statements.load("ledger/lock_available.sql"), tenant_id)
    purse = await lots.hold(connection, tenant_id)
    if purse is None:
        return 0
    purse, gone = await _expire(connection, accounts, tenant_id, purse, now)
    await lots.keep(connection, tenant_id, purse)
    return gone


async def _expire(
    connection: Any, accounts: Accounts, tenant_id: str, purse: Purse, now: datetime
) -> tuple[Purse, int]:
    left, gone = purse.expired(now)
    moves = (accounts.id(tenant_id, "available"), accounts.id(None, "grants"))
    transfers = [
        Transfer("expire", *moves, amount, None, None, None, None, f"grant {grant_id} expired")
        for grant_id, amount in gone.items()
    ]
    await write(connection, transfers, now)
    return left, sum(gone.values())


def _insufficient(tenant_id: str, needed: int, missing: int) -> InsufficientCreditsError:
    available = needed - missing
    return InsufficientCreditsError(
        f"this may cost {credits(needed)} credits and only {credits(available)} are available",
        remedy=f"Grant at least {credits(missing)} more: headrace ledger grant "
        f"--tenant {tenant_id} {credits(missing).replace(',', '')}",
        facts={
            "needed_microcredits": needed,
            "available_microcredits": available,
            "missing_microcredits": missing,
        },
    )


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant as it stands in the ledger; ``is_new`` is false for one that was there already.

    What has not been spent of it at ``expires_at`` is taken back then; ``None`` is never.
    """

    id: int
    amount_microcredits: int
    reason: str
    created_at: datetime
    is_new: bool
    expires_at: datetime | None = None


async def grant(
    connection: Any,
    accounts: Accounts,
    tenant_id: str,
    amount_microcredits: int,
    reason: str,
    now: datetime,
    reference: str | None = None,
    expires_at: datetime | None = None,
) -> Granted:
    """Give a tenant credits, in the caller's transaction: of one ``reference`` only once.

    Raises ``NotFoundError`` for an unknown tenant, ``ConflictError`` where the reference
    was another amount or end, ``UsageError`` where the balance would be beyond what can be
    counted, or the end is over.
    """
    await accounts.know(connection, {tenant_id})
    source, target = accounts.id(None, "grants"), accounts.id(tenant_id, "available")
    # As a reserve does: first the balance, then what else is moved.
    row = await connection.fetchrow(statements.load("ledger/lock_available.sql"), tenant_id)
    if reference is not None:
        found = await connection.fetchrow(statements.load("ledger/granted.sql"), target, reference)
        if found is not None:
            return _again(found, amount_microcredits, reference, expires_at)
    if expires_at is not None and expires_at <= now:
        raise UsageError(
            f"credits cannot expire in the past ({expires_at.isoformat()})",
            remedy="Name a time to come, or none.",
        )
    if row["balance_microcredits"] + amount_microcredits > CREDITS_MAX:
        raise UsageError(
            f"{tenant_id} would have more than {credits(CREDITS_MAX)} credits",
            remedy="Grant less.",
        )
    purse = await lots.hold(connection, tenant_id, anew=expires_at is not None)
    ids, sums = [source, target], [-amount_microcredits, amount_microcredits]
    await connection.execute(statements.load("ledger/move.sql"), ids, sums)
    told = (source, target, amount_microcredits, reason, reference, now, expires_at)
    made = await connection.fetchval(statements.load("ledger/grant.sql"), *told)
    if purse is not None:
        purse = _granted(purse, made, amount_microcredits, expires_at)
        await lots.keep(connection, tenant_id, purse)
    return Granted(made, amount_microcredits, reason, now, True, expires_at)


def _granted(purse: Purse, made: int, amount: int, expires_at: datetime | None) -> Purse:
    if expires_at is None:
        return replace(purse, available=purse.available + amount)
    return purse.with_lot(Lot(made, expires_at, amount))


def _again(
    row: Any, amount_microcredits: int, reference: str, expires_at: datetime | None
) -> Granted:
    found = Granted(
        row["id"],
        row["amount_microcredits"],
        row["reason"],
        row["created_at"],
        False,
        row["expires_at"],
    )
    if found.amount_microcredits != amount_microcredits or found.expires_at != expires_at:
        until = "" if found.expires_at is None else f" until {found.expires_at.isoformat()}"
        raise ConflictError(
            f"the reference {reference!r} was a grant of {credits(found.amount_microcredits)}"
            f"{until}",
            remedy="Use a new reference for another grant.",
        )
    return found
