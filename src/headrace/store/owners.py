"""Whose an artifact is: of every tenant for which it was made, or that handed it in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace.store import statements


async def add(connection: Any, made: Iterable[tuple[str, bytes]]) -> None:
    """Write down that artifacts are their tenants': pairs of tenant id and SHA-256."""
    pairs = sorted(set(made))
    if pairs:
        await connection.execute(
            statements.load("owners/add.sql"),
            [tenant_id for tenant_id, _ in pairs],
            [sha256 for _, sha256 in pairs],
        )


async def foreign(connection: Any, tenant_id: str, sha256s: Iterable[bytes]) -> set[bytes]:
    """Return those of some digests that a tenant may not name: another's, or nobody's."""
    asked = set(sha256s)
    if not asked:
        return asked
    rows = await connection.fetch(statements.load("owners/owned.sql"), tenant_id, list(asked))
    return asked - {row["sha256"] for row in rows}
