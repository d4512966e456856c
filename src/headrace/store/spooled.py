"""Results that are paid for and wait on a worker's disk for the object store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.artifact import Artifact
from headrace.store import statements


@dataclass(frozen=True, slots=True)
class Spooled:
    """A result by the key of its purchase; ``reply`` is JSON, ``place`` says whose disk."""

    batch_id: UUID
    idx: int
    key_number: int
    artifact: Artifact
    reply: str
    place: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits on one disk: how many results, their bytes, since when."""

    place: str
    results: int
    size_bytes: int
    since: datetime


async def keep(connection: Any, group: list[Spooled], now: datetime) -> Sequence[None]:
    """Write down results that wait; repeatable."""
    await connection.execute(
        statements.load("spooled/keep.sql"),
        [one.batch_id for one in group],
        [one.idx for one in group],
        [one.key_number for one in group],
        [one.artifact.sha256 for one in group],
        [one.artifact.media_type for one in group],
        [one.artifact.size_bytes for one in group],
        [one.reply for one in group],
        [one.place for one in group],
        now,
    )
    return [None] * len(group)


async def find(
    connection: Any, batch_id: UUID, idx: int, key_number: int
) -> tuple[Spooled, datetime] | None:
    """Return the result of a purchase, and since when it waits, if it does."""
    row = await connection.fetchrow(statements.load("spooled/find.sql"), batch_id, idx, key_number)
    if row is None:
        return None
    artifact = Artifact(row["sha256"], row["media_type"], row["size_bytes"])
    return (
        Spooled(batch_id, idx, key_number, artifact, row["reply"], row["place"]),
        row["spooled_at"],
    )


async def drop(connection: Any, items: list[tuple[UUID, int]]) -> None:
    """Forget the results of items whose attempts are settled."""
    if items:
        await connection.execute(
            statements.load("spooled/drop.sql"),
            [one[0] for one in items],
            [one[1] for one in items],
        )


async def named(connection: Any, sha256s: list[bytes]) -> list[Artifact]:
    """Return those of some bodies that are results which somebody waits for."""
    rows = await connection.fetch(statements.load("spooled/named.sql"), sha256s)
    return [Artifact(row["sha256"], row["media_type"], row["size_bytes"]) for row in rows]


async def prune(connection: Any) -> None:
    """Forget results whose items have ended some other way."""
    await connection.execute(statements.load("spooled/prune.sql"))


async def waiting(connection: Any) -> list[Backlog]:
    """Return what waits, by disk, the oldest first."""
    rows = await connection.fetch(statements.load("spooled/waiting.sql"))
    return [Backlog(row["place"], row["results"], row["size_bytes"], row["since"]) for row in rows]
