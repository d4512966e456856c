"""What tenants' results are sealed with in the shared cache; a renewal forgets all of one's."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from headrace.store import statements

SECRET_BYTES = 32


async def of(connection: Any, tenant_id: str) -> bytes | None:
    """Return a tenant's secret, made if there is none; ``None`` where there is no such tenant.

    The connection must not be in a transaction: what is read next has to be later.
    """
    sql = statements.load("cache/secret.sql")
    found: bytes | None = await connection.fetchval(sql, tenant_id)
    if found is None:
        made = secrets.token_bytes(SECRET_BYTES)
        await connection.execute(statements.load("cache/make_secret.sql"), tenant_id, made)
        found = await connection.fetchval(sql, tenant_id)
    return found


async def renew(connection: Any, tenant_ids: Iterable[str]) -> None:
    """Give tenants other secrets, in the transaction that removes or replaces their results.

    It comes last in a transaction: who holds these rows waits for no others.
    """
    told = sorted(set(tenant_ids))
    if told:
        await connection.execute(
            statements.load("cache/renew_secrets.sql"),
            told,
            [secrets.token_bytes(SECRET_BYTES) for _ in told],
        )
