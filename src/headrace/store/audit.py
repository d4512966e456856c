"""The audit: every invariant of ledger, items and counts, looked for in the data itself."""

from __future__ import annotations

from typing import Any

from headrace.store import statements

CHECKS = (
    ("balances", "an account's balance is not the sum of its transfers"),
    ("held", "held credits are not the reserves of the open items"),
    ("settlements", "an ended item's reserve is not settled exactly once"),
    ("charges", "an item that was not delivered is charged"),
    ("counts", "a batch's counts are not those of its items"),
    ("closed", "a closed batch has open items, or an open one has none"),
    ("artifacts", "a delivered item's artifact is not recorded"),
    ("events", "a batch's events have a gap"),
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
                facts = ", ".join(f"{key} {value}" for key, value in row.items())
                findings.append(f"{name}: {meaning} ({facts})")
            if len(rows) > SHOWN_MAX:
                findings.append(f"{name}: and {len(rows) - SHOWN_MAX} more")
    return findings
