"""API keys at rest: made, found by their hash, revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.access import ApiKey, Scope, digest_of, new_secret, shown_of
from headrace.identity import new_uuid
from headrace.store import statements


async def make(
    connection: Any,
    tenant_id: str,
    name: str,
    scope: Scope,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """Return a fresh key and how it is kept; the key cannot be read again."""
    secret = new_secret()
    made = ApiKey(new_uuid(now), tenant_id, name, shown_of(secret), scope, now, expires_at)
    await connection.execute(statements.load("keys/insert.sql"), *_values(made, secret))
    return secret, made


async def make_first(connection: Any, tenant_id: str, now: datetime) -> str | None:
    """Return the admin key of a new installation, ``None`` when it has keys already.

    In the caller's transaction; of several servers that start at once one makes it.
    """
    secret = new_secret()
    made = ApiKey(new_uuid(now), tenant_id, "first", shown_of(secret), Scope.ADMIN, now)
    await connection.execute(statements.load("keys/lock.sql"))
    inserted = await connection.fetchval(
        statements.load("keys/insert_first.sql"), *_values(made, secret)
    )
    return None if inserted is None else secret


async def find(connection: Any, secret: str) -> ApiKey | None:
    """Return what is kept of a key, ``None`` for one that there never was."""
    row = await connection.fetchrow(statements.load("keys/by_digest.sql"), digest_of(secret))
    return None if row is None else _read(row)


async def listed(connection: Any, tenant_id: str | None) -> list[ApiKey]:
    """Return a tenant's keys, or everybody's, the oldest first."""
    rows = await connection.fetch(statements.load("keys/list.sql"), tenant_id)
    return [_read(row) for row in rows]


async def revoke(connection: Any, shown: str, now: datetime) -> bool:
    """Revoke the key that begins so; ``False`` when no good one does."""
    status: str = await connection.execute(statements.load("keys/revoke.sql"), shown, now)
    return status != "UPDATE 0"


def _values(key: ApiKey, secret: str) -> tuple[Any, ...]:
    return (
        key.id,
        key.tenant_id,
        key.name,
        key.shown,
        digest_of(secret),
        key.scope.value,
        key.created_at,
        key.expires_at,
    )


def _read(row: Any) -> ApiKey:
    return ApiKey(**{**dict(row), "scope": Scope(row["scope"])})
