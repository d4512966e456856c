"""API keys at rest: made, found by their hash, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from headrace.access import (
    ID_PREFIX,
    SHOWN_CHARS,
    ApiKey,
    Scope,
    digest_of,
    new_secret,
    shown_of,
)
from headrace.errors import ConflictError, InputError, NotFoundError
from headrace.identity import new_uuid, read_id
from headrace.plan import check_text
from headrace.store import statements

USED_S = 60.0
"""How old the last use may be before it is written again."""


async def make(
    connection: Any,
    tenant_id: str,
    name: str,
    scope: Scope,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """Return a fresh key and how it is kept; the key cannot be read again.

    Raises ``InputError`` for its name, and for an end that is over.
    """
    name = check_text(name, "the name of a key")
    if expires_at is not None and expires_at <= now:
        raise InputError(f"{expires_at.isoformat()} is over", remedy="Name a time to come.")
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


async def one(connection: Any, named: str, tenant_id: str | None = None) -> ApiKey:
    """Return the key of that id, or that begins so: a tenant's, or with ``None`` anybody's.

    Raises ``NotFoundError``, and ``InputError`` where several begin so.
    """
    known, shown = None, named.strip().rstrip("…")[:SHOWN_CHARS]
    if named.startswith(ID_PREFIX):
        known, shown = read_id(ID_PREFIX, named, "the id of a key", "headrace keys list"), ""
    rows = []
    if shown.isprintable():
        rows = await connection.fetch(statements.load("keys/named.sql"), known, shown, tenant_id)
    if not rows:
        raise NotFoundError(f"there is no key {named[:40]!r}", remedy="headrace keys list")
    if len(rows) > 1:
        raise InputError(f"{len(rows)} keys begin with {shown!r}", remedy="Name it by its id.")
    return _read(rows[0])


async def rotate(
    connection: Any, old: ApiKey, grace: timedelta, now: datetime
) -> tuple[str, ApiKey]:
    """Return a key that takes the place of ``old``, which is good for ``grace`` still.

    In the caller's transaction: both are there or neither. It lives as long as the old one
    was made to live. Raises ``ConflictError`` where that is not good, or was rotated before.
    """
    lives = None if old.expires_at is None else old.expires_at - old.created_at
    ends = None if lives is None else now + lives
    secret, made = await make(connection, old.tenant_id, old.name, old.scope, now, ends)
    replaced = await connection.fetchval(
        statements.load("keys/replace.sql"), old.id, made.id, now + grace, now
    )
    if replaced is None:
        raise ConflictError(
            f"the key {old.shown}… is not good any more, or was rotated before",
            remedy="Rotate the key that took its place, or make one: headrace keys create",
        )
    return secret, made


async def revoke_one(connection: Any, key_id: UUID, now: datetime) -> bool:
    """Revoke a key by its id; ``False`` where it was revoked before."""
    found = await connection.fetchval(statements.load("keys/revoke_one.sql"), key_id, now)
    return found is not None


async def used(connection: Any, key: ApiKey, now: datetime) -> None:
    """Write down that a key was used, if the last time is a while ago."""
    last = key.last_used_at
    if last is None or (now - last).total_seconds() >= USED_S:
        await connection.execute(statements.load("keys/used.sql"), key.id, now)


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
