"""The audit: every rule of the ledger and of the counts, recomputed from the rows themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from headrace.identity import show_batch_id
from headrace.store import statements

RULES: tuple[tuple[str, str], ...] = (
    ("verify_balances", "a balance is the sum of its transfers"),
    ("verify_zero", "all balances sum to zero"),
    ("verify_negative", "no tenant's balance is below zero"),
    ("verify_held", "what is held is the reserve of the open items"),
    ("verify_settled", "each round that is over was settled once, to its reserve"),
    ("verify_charged", "a delivered item is charged once, any other nothing"),
    ("verify_counts", "a batch's counts are those of its items"),
    ("verify_ended", "a batch is over exactly when no item is open"),
    ("verify_attempts", "no attempt is under way for an item that has ended"),
    ("verify_artifacts", "every artifact that is named exists"),
    ("verify_events", "events are numbered without gaps"),
)
"""The statements under ``sql/ledger/``, and in words what each of them holds to."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule: where it is, what it should be and what is there.

    Amounts are micro-credits (costs: micro-USD).
    """

    rule: str
    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.place}: expected {self.expected}, found {self.found} ({self.rule})"


async def verify(connection: Any) -> list[Finding]:
    """Return every breach of ``RULES`` (a thousand of each at most); empty when all is well.

    All rules look at one snapshot, so that work going on meanwhile is no finding. The
    connection must not be in a transaction.
    """
    findings: list[Finding] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, rule in RULES:
            rows = await connection.fetch(statements.load(f"ledger/{name}.sql"))
            findings += [_finding(rule, row) for row in rows]
    return findings


def _finding(rule: str, row: Any) -> Finding:
    told = dict(row)
    parts = [str(told["place"])]
    if told.get("idx") is not None:
        parts.insert(0, f"row {told['idx'] + 1}")
    if told.get("batch") is not None:
        parts.insert(0, f"batch {show_batch_id(UUID(told['batch']))}")
    return Finding(rule, ", ".join(parts), told["expected"], told["found"])
