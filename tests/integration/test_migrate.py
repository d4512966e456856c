"""Migrations: in order, once, all or nothing, and quick when there is nothing to do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from headrace.errors import DatabaseError
from headrace.store.migrate import migrate
from headrace.store.schema import MIGRATIONS

NOTES = (MIGRATIONS / "0000_notes.sql").read_text(encoding="utf-8")


def write(folder: Path, **files: str) -> Path:
    """Lay migration files beside the first one, which the runner itself needs."""
    (folder / "0000_notes.sql").write_text(NOTES, encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
async def connection(empty_url: str):
    connection = await asyncpg.connect(empty_url)
    yield connection
    await connection.close()


async def test_files_apply_in_order_and_once(connection, tmp_path: Path) -> None:
    """An empty database gets every file; a current one is left alone."""
    folder = write(tmp_path, m0001_a="CREATE TABLE a (x int)", m0002_b="ALTER TABLE a ADD y int;")
    assert await migrate(connection, folder) == ["0000", "0001", "0002"]
    assert await migrate(connection, folder) == []
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0002"


async def test_an_older_database_gets_what_it_lacks(connection, tmp_path: Path) -> None:
    """Only the files after its version are applied, and its rows stay."""
    await migrate(connection, write(tmp_path, m0001_a="CREATE TABLE a (x int)"))
    await connection.execute("INSERT INTO a VALUES (7)")
    folder = write(tmp_path, m0002_b="ALTER TABLE a ADD y int NOT NULL DEFAULT 1")
    assert await migrate(connection, folder) == ["0002"]
    assert tuple(await connection.fetchrow("SELECT x, y FROM a")) == (7, 1)


async def test_a_file_runs_as_it_is_written(connection, tmp_path: Path) -> None:
    """Colons, percent signs, tabs, dollar quotes and several statements survive."""
    text = """
    CREATE TABLE said (what text DEFAULT '50% :name \\:x\ty');
    CREATE FUNCTION say() RETURNS text LANGUAGE plpgsql AS $$
    BEGIN RETURN 'a;b' || '%'::text; END $$;
    INSERT INTO said DEFAULT VALUES; -- the last one; with a comment"""
    await migrate(connection, write(tmp_path, m0001_a=text))
    assert await connection.fetchval("SELECT what FROM said") == "50% :name \\:x\ty"
    assert await connection.fetchval("SELECT say()") == "a;b%"


async def test_a_failing_file_leaves_nothing(connection, tmp_path: Path) -> None:
    """A file is one transaction: the ones before it are kept, of itself nothing."""
    folder = write(
        tmp_path, m0001_a="CREATE TABLE a (x int)", m0002_b="CREATE TABLE b (x int); SELECT 1/0;"
    )
    with pytest.raises(DatabaseError, match=r"0002_b\.sql failed.*division by zero"):
        await migrate(connection, folder)
    assert await connection.fetchval("SELECT to_regclass('a') IS NOT NULL")
    assert await connection.fetchval("SELECT to_regclass('b') IS NULL")
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0001"
    # The lock was returned and the corrected file applies.
    write(tmp_path, m0002_b="CREATE TABLE b (x int)")
    assert await migrate(connection, folder) == ["0002"]


async def test_concurrent_starts_apply_each_file_once(empty_url: str) -> None:
    """Eight processes that start together migrate one after the other, each file once."""
    connections = [await asyncpg.connect(empty_url) for _ in range(8)]
    applied = await asyncio.gather(*(migrate(connection) for connection in connections))
    assert sum(len(numbers) for numbers in applied) == len(list(MIGRATIONS.glob("*.sql")))
    locks = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert await connections[0].fetchval(locks) == 0
    for connection in connections:
        await connection.close()


async def test_a_newer_database_is_refused(connection, tmp_path: Path) -> None:
    """A release that does not know the database's version does not touch it."""
    await migrate(connection, write(tmp_path, m0001_a="CREATE TABLE a (x int)"))
    (tmp_path / "0001_a.sql").unlink()
    with pytest.raises(DatabaseError, match=r"newer headrace.*it is at 0001.*\n.*upgrade"):
        await migrate(connection, tmp_path)


async def test_gaps_in_the_numbers_are_refused(connection, tmp_path: Path) -> None:
    """A lost or misnamed file is an error before anything is applied."""
    with pytest.raises(DatabaseError, match="not numbered"):
        await migrate(connection, write(tmp_path, m0002_b="SELECT 1"))
    assert await connection.fetchval("SELECT to_regclass('schema_note') IS NULL")


async def test_the_queue_is_upgraded_when_its_release_changes(connection) -> None:
    """The queue's tables are brought up to date when another release made them."""
    await migrate(connection)
    assert await connection.fetchval("SELECT to_regclass('pgqueuer') IS NOT NULL")
    await connection.execute("UPDATE schema_note SET value = '0.0.1' WHERE key = 'pgqueuer'")
    index = await connection.fetchval(
        "SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid = 'pgqueuer'::regclass AND NOT indisunique LIMIT 1"
    )
    await connection.execute(f"DROP INDEX {index}")
    assert await migrate(connection) == []
    assert await connection.fetchval("SELECT value FROM schema_note") != "0.0.1"
    assert await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", index)


def test_a_current_database_costs_no_import(database_url: str) -> None:
    """Starting on a current database loads neither Alembic nor SQLAlchemy nor the queue."""
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from headrace.store.database import open_database\n"
        "async def main():\n"
        "    async with open_database(sys.argv[1], Path('/nowhere')): pass\n"
        "asyncio.run(main())\n"
        "print([n for n in ('alembic', 'sqlalchemy', 'pgqueuer') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, database_url],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": os.pathsep.join([str(MIGRATIONS.parents[2]), *sys.path])},
    )
    assert done.stdout.strip() == "[]"
