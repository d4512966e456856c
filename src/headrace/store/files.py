"""Files at rest: which tenant has which, under what name and hash; the bytes are blobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.store import statements


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is kept; ``purpose``: ``batch``, ``batch_output``, ``vision`` (a picture)."""

    id: UUID
    tenant_id: str
    name: str
    purpose: str
    sha256: bytes
    size_bytes: int
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What part of a tenant's files is wanted: ``count`` behind the one called ``after``."""

    count: int
    after: UUID | None = None
    purpose: str | None = None
    oldest_first: bool = False


async def lock(connection: Any, sha256: bytes) -> None:
    """Be the only one, until the transaction ends, to begin or end a file with these bytes."""
    key = int.from_bytes(sha256[:8], "big", signed=True)
    await connection.execute(statements.load("files/lock.sql"), key)


async def insert(connection: Any, file: File) -> None:
    """Write a file down."""
    await connection.execute(
        statements.load("files/insert.sql"),
        file.id,
        file.tenant_id,
        file.name,
        file.purpose,
        file.sha256,
        file.size_bytes,
        file.created_at,
        file.expires_at,
    )


async def named(
    connection: Any, tenant_id: str, ids: list[UUID], digests: list[bytes], until: datetime
) -> list[File]:
    """Return a tenant's files with one of these ids or hashes that are still there ``until``."""
    rows = await connection.fetch(
        statements.load("files/named.sql"), tenant_id, ids, digests, until
    )
    return [File(**row) for row in rows]


async def find(connection: Any, tenant_id: str, file_id: UUID, now: datetime) -> File | None:
    """Return a tenant's file unless there is none, or it has expired."""
    row = await connection.fetchrow(statements.load("files/find.sql"), tenant_id, file_id, now)
    return None if row is None else File(**row)


async def listed(connection: Any, tenant_id: str, page: Page, now: datetime) -> list[File]:
    """Return a page of a tenant's files, in the order of their ids."""
    name = "files/oldest.sql" if page.oldest_first else "files/newest.sql"
    rows = await connection.fetch(
        statements.load(name), tenant_id, page.after, page.purpose, now, page.count
    )
    return [File(**row) for row in rows]


async def delete(connection: Any, tenant_id: str, file_id: UUID) -> bytes | None:
    """Forget a tenant's file; returns its hash, ``None`` where there is no such file."""
    found: bytes | None = await connection.fetchval(
        statements.load("files/delete.sql"), tenant_id, file_id
    )
    return found


async def is_used(connection: Any, sha256: bytes) -> bool:
    """Tell whether bytes are still a file's or an artifact's."""
    used: bool = await connection.fetchval(statements.load("files/is_used.sql"), sha256)
    return used


async def expired(connection: Any, now: datetime) -> list[tuple[str, UUID]]:
    """Return tenant and id of some files whose time is over."""
    rows = await connection.fetch(statements.load("files/expired.sql"), now)
    return [(row["tenant_id"], row["id"]) for row in rows]
