"""Databases for tests: copies of a migrated one, taken again once they are as they were made.

Copying a database takes a third of a second, and taking a test's rows out of one a few hundredths.
"""

from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import AsyncIterator

import asyncpg

from bench.setting import of_database
from headrace.store.migrate import migrate

ORIGIN = "headrace_template"
GROWN_BYTES = 4 * 2**20
"""One that grew by so much is not taken again: the room of what was deleted is still read."""
CATALOGS = [
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_extension",
    "pg_index",
    "pg_namespace",
    "pg_policy",
    "pg_proc",
    "pg_rewrite",
    "pg_sequence",
    "pg_trigger",
    "pg_type",
]
TABLES = """
    SELECT quote_ident(relname) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
SEQUENCES = """
    SELECT quote_ident(sequencename) AS name, coalesce(last_value, start_value) AS value,
        last_value IS NOT NULL AS called
    FROM pg_sequences WHERE schemaname = 'public'
"""
COUNTED = """
    SELECT concat_ws('/', sum(relpages), sum(reltuples::bigint)) FROM pg_class
    WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
"""
"""What the planner goes by; rows that are gone are still in it."""
SETTINGS = """
    SELECT concat_ws('/', datconnlimit, datallowconn, datistemplate,
        (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = pg_database.oid))
    FROM pg_database WHERE datname = current_database()
"""


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is closed at the end."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def filled(connection: asyncpg.Connection, tables: list[str]) -> list[str]:
    """The tables that have rows."""
    found = await connection.fetch(
        " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables)
    )
    return [row[0] for row in found]


async def shape(connection: asyncpg.Connection) -> str:
    """What changes whenever somebody defines, alters or drops anything, or sets the database.

    And when its rows are counted: another test's plans would be made for rows that are gone.
    """
    parts = [
        f"SELECT concat_ws('/', '{name}', count(*), max(xmin::text::bigint)) FROM {name}"
        for name in CATALOGS
    ]
    found = await connection.fetch(" UNION ALL ".join([*parts, COUNTED, SETTINGS]))
    return " ".join(row[0] for row in found)


async def size(connection: asyncpg.Connection) -> int:
    """Bytes of the database."""
    return int(await connection.fetchval("SELECT pg_database_size(current_database())"))


class Copies:
    """The databases of one server, and what a fresh one looks like."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._free: list[str] = []
        self._tables: list[str] = []
        self._rows: dict[str, bytes] = {}
        self._sequences: dict[str, tuple[int, bool]] = {}
        self._shape = ""
        self._bytes = 0

    async def make_origin(self) -> None:
        """Make the migrated database that the others are copied from."""
        async with session(self._server_url) as server:
            await server.execute(f"CREATE DATABASE {ORIGIN}")
        async with session(of_database(self._server_url, ORIGIN)) as origin:
            await migrate(origin)
            self._tables = [row[0] for row in await origin.fetch(TABLES)]
            for table in await filled(origin, self._tables):
                rows = io.BytesIO()
                await origin.copy_from_query(f"SELECT * FROM {table}", output=rows, format="binary")
                self._rows[table] = rows.getvalue()
            self._sequences = await _sequences(origin)
            self._shape, self._bytes = await shape(origin), await size(origin)

    async def take(self) -> str:
        """Return the name of a fresh, migrated database."""
        if self._free:
            return self._free.pop()
        name = _new_name()
        async with session(self._server_url) as server:
            await server.execute(f"CREATE DATABASE {name} TEMPLATE {ORIGIN}")
        return name

    async def give_back(self, name: str) -> None:
        """Make a database fresh again, or drop it where that is not sure to succeed.

        It gets another name, so that a process that was left behind does not come back to it.
        """
        new = _new_name()
        async with session(self._server_url) as server:
            await server.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1",
                name,
            )
            try:
                await server.execute(f"ALTER DATABASE {name} RENAME TO {new}")
            except asyncpg.ObjectInUseError:
                is_fresh = False
            else:
                name, is_fresh = new, await self._cleared(new)
            if is_fresh:
                self._free.append(name)
            else:
                await server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _cleared(self, name: str) -> bool:
        try:
            async with session(of_database(self._server_url, name)) as connection:
                if await shape(connection) != self._shape:
                    return False
                if await size(connection) > self._bytes + GROWN_BYTES:
                    return False
                await self._clear(connection)
                return True
        except asyncpg.ObjectNotInPrerequisiteStateError:
            return False  # a test has shut it for everybody

    async def _clear(self, connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            # Neither the order of the tables nor what a table refuses is of interest here.
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute("SET LOCAL synchronous_commit = off")
            for table in await filled(connection, self._tables):
                await connection.execute(f"DELETE FROM {table}")
            for table, rows in self._rows.items():
                await connection.copy_to_table(table, source=io.BytesIO(rows), format="binary")
        now = await _sequences(connection)
        for sequence, (value, called) in self._sequences.items():
            if now[sequence] != (value, called):
                await connection.execute(
                    "SELECT setval($1::text::regclass, $2, $3)", sequence, value, called
                )


async def _sequences(connection: asyncpg.Connection) -> dict[str, tuple[int, bool]]:
    return {row["name"]: (row["value"], row["called"]) for row in await connection.fetch(SEQUENCES)}


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex}"
