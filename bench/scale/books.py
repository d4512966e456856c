"""What PostgreSQL's own statistics say of a run: log, commits, rows, sizes, what it waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg

SAMPLE_S = 0.05
_FIGURES = """
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal_bytes, xact_commit AS commits,
    tup_inserted AS inserted, tup_updated AS updated, tup_deleted AS deleted,
    pg_database_size(datname) AS size_bytes
FROM pg_stat_database WHERE datname = current_database()
"""
_TABLES = """
SELECT relname AS name, pg_total_relation_size(relid) AS size_bytes,
    pg_indexes_size(relid) AS index_bytes, n_tup_ins AS inserted, n_tup_upd AS updated,
    n_tup_hot_upd AS hot, seq_scan AS scans, coalesce(seq_tup_read, 0) AS scanned
FROM pg_stat_user_tables ORDER BY size_bytes DESC
"""
_WAITS = """
SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU') AS what FROM pg_stat_activity
WHERE backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()
    AND datname = current_database()
"""


@dataclass
class Figures:
    """Counters since the database was made."""

    wal_bytes: int
    commits: int
    inserted: int
    updated: int
    deleted: int
    size_bytes: int

    def since(self, before: Figures) -> Figures:
        """Return what came to these since ``before``."""
        return Figures(
            *(getattr(self, name) - getattr(before, name) for name in self.__dataclass_fields__)
        )

    @property
    def rows(self) -> int:
        """Rows written in any way."""
        return self.inserted + self.updated + self.deleted


@dataclass
class Table:
    """A table's size with its indexes, and how it was written and read."""

    name: str
    size_bytes: int
    index_bytes: int
    inserted: int
    updated: int
    hot: int
    scans: int
    scanned: int


@dataclass
class Waits:
    """What active sessions were doing, sampled: mean numbers of sessions by what they wait for."""

    samples: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def most(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the most frequent, each with how many sessions it kept on average."""
        every = max(1, self.samples)
        return [(name, number / every) for name, number in self.seen.most_common(count)]


async def figures(connection: Any) -> Figures:
    """Return the counters now; sessions that are idle for a second have told theirs."""
    row = await connection.fetchrow(_FIGURES)
    return Figures(*(int(value) for value in row.values()))


async def tables(connection: Any) -> list[Table]:
    """Return all tables that were written, the largest first."""
    rows = await connection.fetch(_TABLES)
    return [Table(*row.values()) for row in rows]


@contextlib.asynccontextmanager
async def reader(url: str) -> AsyncIterator[Any]:
    """Lend a session that only reads statistics."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def sampled(url: str) -> AsyncIterator[Waits]:
    """Sample what sessions wait for while the block runs."""
    waits = Waits()

    async def sample(connection: Any) -> None:
        while True:
            for row in await connection.fetch(_WAITS):
                waits.seen[row["what"]] += 1
            waits.samples += 1
            await asyncio.sleep(SAMPLE_S)

    async with reader(url) as connection:
        task = asyncio.create_task(sample(connection))
        try:
            yield waits
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
