"""Idempotency keys of calls on demand: what was asked under each, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.store import statements

SWEPT = 20
"""Keys past their time that go whenever a new one comes."""


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """A key of a tenant; ``told`` is the JSON that was answered, ``None`` while it is not."""

    id: UUID
    tenant_id: str
    key: str
    request_digest: bytes
    created_at: datetime
    expires_at: datetime
    told: str | None = None


async def claim(connection: Any, new: AnswerKey) -> AnswerKey:
    """Write a key down and return it, or the one that is there already."""
    inserted = await connection.fetchval(
        statements.load("answer_keys/insert.sql"),
        new.id,
        new.tenant_id,
        new.key,
        new.request_digest,
        new.created_at,
        new.expires_at,
    )
    if inserted is not None:
        await connection.execute(statements.load("answer_keys/sweep.sql"), new.created_at, SWEPT)
        return new
    row = await connection.fetchrow(statements.load("answer_keys/find.sql"), new.tenant_id, new.key)
    return AnswerKey(**row)


async def keep(connection: Any, key_id: UUID, told: str) -> str:
    """Write an answer down, once, and return the one that holds."""
    found: str | None = await connection.fetchval(
        statements.load("answer_keys/keep.sql"), key_id, told
    )
    return told if found is None else found


async def forget(connection: Any, known: AnswerKey, purchases: list[str]) -> None:
    """Let go of a key unless something was bought under one of ``purchases``."""
    await connection.execute(
        statements.load("answer_keys/forget.sql"), known.id, known.tenant_id, purchases
    )
