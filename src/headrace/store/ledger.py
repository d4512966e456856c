"""Transfers and balances: double entry, append-only, one row for each movement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.errors import InsufficientCreditsError, NotFoundError
from headrace.price import credits
from headrace.store import statements


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
    that every balance stays true. Raises ``InsufficientCreditsError``.
    """
    if amount_microcredits == 0:
        return
    await accounts.know(connection, {tenant_id})
    available, held = accounts.id(tenant_id, "available"), accounts.id(tenant_id, "held")
    row = await connection.fetchrow(statements.load("ledger/lock_available.sql"), tenant_id)
    missing = amount_microcredits - row["balance_microcredits"]
    transfers: list[Transfer] = []
    if missing > 0:
        if not row["unlimited"]:
            raise InsufficientCreditsError(
                f"the batch may cost {credits(amount_microcredits)} credits and only "
                f"{credits(row['balance_microcredits'])} are available",
                remedy=f"Grant at least {credits(missing)} more: headrace ledger grant "
                f"--tenant {tenant_id} {missing / 1_000_000:g}",
            )
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


async def grant(
    connection: Any,
    accounts: Accounts,
    tenant_id: str,
    amount_microcredits: int,
    reason: str,
    now: datetime,
) -> None:
    """Give a tenant credits; raises ``NotFoundError`` for an unknown tenant."""
    await accounts.know(connection, {tenant_id})
    source, target = accounts.id(None, "grants"), accounts.id(tenant_id, "available")
    transfer = Transfer(
        "grant", source, target, amount_microcredits, None, None, None, None, reason
    )
    await write(connection, [transfer], now)
