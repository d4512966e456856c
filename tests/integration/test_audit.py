"""The audit finds nothing in honest books, and every kind of wrong in cooked ones."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.store.audit import CHECKS, verify
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on, recipe, rows


def script(prompt: str, nth: int) -> OutcomeKind | None:
    """Row 0 is refused once, row 1 always, row 2 once rate-limited; the rest succeeds."""
    if prompt == "row 0" and nth == 1:
        return OutcomeKind.REFUSED
    if prompt == "row 1":
        return OutcomeKind.REFUSED
    if prompt == "row 2" and nth == 1:
        return OutcomeKind.RATE_LIMITED
    return None


@pytest.fixture
async def books(database_url: str, tmp_path: Path) -> str:
    """The URL of a database with a batch that saw refusals, retries, a cache hit and a bad row."""
    async with engine_on(database_url, tmp_path, Scripted(script)) as engine:
        given = [*rows(8), {"t": "row 5"}, {"t": ""}]
        batch = await engine.submit(given, recipe(), columns=["t"])
        await batch.done()
        await batch.retry({ItemState.REFUSED})
        await batch.done()
        held = await engine.submit(rows(3, "held"), recipe(), columns=["t"])
        await held.pause()
        await held.cancel()
        await held.done()
    return database_url


async def audit(url: str, *cook: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        for statement in cook:
            await connection.execute(statement)
        return await verify(connection)
    finally:
        await connection.close()


async def test_honest_books_have_no_findings(books: str) -> None:
    """Refusals, retries, duplicates, bad rows and a cancelled batch add up."""
    assert await audit(books) == []


BATCH = "(SELECT id FROM batch ORDER BY created_at LIMIT 1)"
COOKED = {
    "balances": "UPDATE account SET balance_microcredits = balance_microcredits + 1 "
    "WHERE kind = 'revenue'",
    "held": "UPDATE account SET balance_microcredits = balance_microcredits + 1 "
    "WHERE kind = 'held'",
    "settlements": "UPDATE item SET round = round + 1 WHERE idx = 3",
    "charges": "UPDATE item SET spent_microcredits = spent_microcredits - 1 "
    f"WHERE idx = 3 AND batch_id = {BATCH}",
    "counts": f"UPDATE batch_progress SET attempts = attempts + 1 WHERE batch_id = {BATCH}",
    "closed": f"UPDATE batch SET state = 'running' WHERE id = {BATCH}",
    "attempts": f"UPDATE attempt SET state = 'started' WHERE idx = 4 AND batch_id = {BATCH}",
    "artifacts": "UPDATE cache_entry SET sha256 = sha256('gone'::bytea) "
    "WHERE fingerprint = (SELECT fingerprint FROM cache_entry WHERE sha256 IS NOT NULL LIMIT 1)",
    "events": f"DELETE FROM event WHERE seq = 2 AND batch_id = {BATCH}",
    "risks": f"UPDATE attempt SET at_risk_microusd = 1 WHERE idx = 4 AND batch_id = {BATCH}",
    "days": "INSERT INTO tenant_day (tenant_id, day, items) VALUES ('default', '2026-03-01', 1)",
    "lots": "INSERT INTO purse VALUES ('default', 0, 0)",
    "claims": "UPDATE cache_entry SET (claim_shard_id, claim_fence) = "
    "(SELECT id, fence FROM shard WHERE state = 'done' LIMIT 1) WHERE fingerprint = "
    "(SELECT fingerprint FROM cache_entry LIMIT 1)",
}


def test_every_check_is_tried() -> None:
    """No check stands in the list that no test has seen strike."""
    assert set(COOKED) == {name for name, _ in CHECKS}


@pytest.mark.parametrize("check", COOKED)
async def test_cooked_books_are_found(check: str, books: str) -> None:
    """Each kind of wrong is found by its check, with the place in words."""
    findings = await audit(books, COOKED[check])
    assert any(finding.startswith(f"{check}:") for finding in findings), findings


async def test_a_free_delivery_is_found(books: str) -> None:
    """An item that was delivered, and whose whole reserve went back, was not charged."""
    cook = (
        "ALTER TABLE transfer DISABLE TRIGGER transfer_append_only",
        f"UPDATE transfer SET kind = 'void' WHERE kind = 'post' AND idx = 4 AND batch_id = {BATCH}",
    )
    findings = await audit(books, *cook)
    assert any(finding.startswith("charges:") and "row 5" in finding for finding in findings)
