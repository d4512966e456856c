"""The audit: every invariant of ledger, items and counts, looked for in the data itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from headrace.identity import show_batch_id
from headrace.store import statements

CHECKS = (
    ("balances", "an account's balance is not the sum of its transfers"),
    ("held", "held credits are not the reserves of the open items"),
    ("settlements", "a round of an item that is over is not settled once, to its reserve"),
    ("charges", "a delivered item is not charged once, or another one is charged"),
    ("counts", "a batch's counts are not those of its items"),
    ("closed", "a closed batch has open items, or an open one has none"),
    ("attempts", "an attempt is under way for an item that has ended"),
    ("artifacts", "an artifact that an item or the cache names is not recorded"),
    ("risks", "what a batch has at risk is not what its attempts have"),
    ("events", "a batch's events have a gap"),
    ("days", "what counts on a tenant's day is not what its items and their credits are"),
    ("lots", "what is left of grants that expire is more than the tenant has, or was granted"),
    ("claims", "a cache claim is held by a shard that is done"),
)
"""Each check is ``store/sql/audit/<name>.sql``, which returns a row for each violation."""

SHOWN_MAX = 20


async def verify(connection: Any) -> list[str]:
    """Return the violations found, in words with their numbers; an empty list is a clean audit.

    Runs in one snapshot, so that it may be run beside live work.
    """
    findings: list[str] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, meaning in CHECKS:
            rows = await connection.fetch(statements.load(f"audit/{name}.sql"))
            for row in rows[:SHOWN_MAX]:
                facts = ", ".join(f"{key} {_show(value)}" for key, value in row.items())
                findings.append(f"{name}: {meaning} ({facts})")
            if len(rows) > SHOWN_MAX:
                findings.append(f"{name}: and {len(rows) - SHOWN_MAX} more")
    return findings


def _show(value: Any) -> str:
    return show_batch_id(value) if isinstance(value, UUID) else str(value)
