"""The pool: what it asks of a server, and what it says when it does not get it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from headrace.errors import ConfigError, DatabaseError
from headrace.store.database import Database, connect, open_database
from headrace.store.embedded import EmbeddedServer
from headrace.store.schema import session_name

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


async def test_connections_say_who_they_are(database: Database) -> None:
    """An operator, and other releases, see headrace's connections by name and schema."""
    async with database.acquire() as connection:
        assert await connection.fetchval("SHOW application_name") == session_name()


async def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    """An error inside the block undoes what was written in it."""
    with suppress(RuntimeError):
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO schema_note VALUES ('k', 'v')")
            raise RuntimeError
    async with database.transaction() as connection:
        assert await connection.fetchval("SELECT 1 FROM schema_note WHERE key = 'k'") is None
        await connection.execute("INSERT INTO schema_note VALUES ('k', 'v')")
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT 1 FROM schema_note WHERE key = 'k'") == 1


@pytest.mark.parametrize("value", ["local", "on", "remote_apply"])
async def test_settings_that_keep_commits_are_accepted(database_url: str, value: str) -> None:
    """Anything that waits for the disk is safe enough."""
    await _set(database_url, value)
    await (await connect(database_url)).close()


async def test_lost_commits_are_refused(database_url: str) -> None:
    """A database that acknowledges before it writes is refused, with the words that mend it."""
    await _set(database_url, "off")
    with pytest.raises(DatabaseError, match="synchronous_commit is off") as caught:
        await connect(database_url)
    assert "ALTER SYSTEM SET synchronous_commit = on" in caught.value.remedy


async def _set(url: str, value: str) -> None:
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {value}")
    await connection.close()


async def test_an_unreachable_server_is_said_without_the_password(tmp_path: Path) -> None:
    """The error names the setting and keeps the secret."""
    with pytest.raises(DatabaseError, match="cannot be reached") as caught:
        await connect(f"postgresql://u:tops3cret@/d?host={tmp_path}")
    assert "tops3cret" not in str(caught.value)
    assert "HEADRACE_DATABASE_URL" in str(caught.value)


async def test_a_wrong_password_is_said(server: EmbeddedServer) -> None:
    """Being refused at the door is an error with a remedy, and the secret stays."""
    with pytest.raises(DatabaseError, match="password authentication failed"):
        await connect(server.url.replace("headrace:", "headrace:not", 1))


@pytest.mark.parametrize("url", ["mysql://here/there", "postgresql://h:port/x", "nonsense"])
async def test_a_bad_url_is_a_setting_to_correct(url: str) -> None:
    """What is not a PostgreSQL URL is named as a wrong setting."""
    with pytest.raises(ConfigError, match="HEADRACE_DATABASE_URL"):
        await connect(url)


async def test_open_brings_the_database_up_to_date(empty_url: str, tmp_path: Path) -> None:
    """Opening a database of one's own migrates it and starts no server."""
    async with open_database(empty_url, tmp_path / "home") as database:
        assert database.server is None
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT to_regclass('item') IS NOT NULL")
    assert not (tmp_path / "home").exists()


async def test_open_without_a_url_brings_a_server(scratch: Path) -> None:
    """Without a URL the home's own server is started, and stopped at the end."""
    home = scratch / "own"
    async with open_database(None, home) as database:
        assert database.server is not None
        data = database.server.data
        assert (data / "postmaster.pid").exists()
    assert not (data / "postmaster.pid").exists()


async def test_a_session_comes_back_without_what_was_open(database_url: str) -> None:
    """Whoever leaves in the middle of a transaction leaves none to the next, nor a lock."""
    database = await connect(database_url, connections_max=1)
    try:
        with suppress(RuntimeError):
            async with database.transaction() as connection:
                await connection.execute("SELECT pg_advisory_xact_lock(1)")
                await connection.execute("CREATE TABLE half_made (id integer)")
                raise RuntimeError
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT to_regclass('half_made')") is None
            assert await connection.fetchval(LOCKS) == 0
    finally:
        await database.close()


async def test_a_migration_leaves_no_lock_and_no_setting(empty_url: str, tmp_path: Path) -> None:
    """The session that brought the database up to date is as good as new."""
    async with open_database(empty_url, tmp_path, connections_max=1) as database:
        async with database.acquire() as connection:
            assert await connection.fetchval(LOCKS) == 0
            path = await connection.fetchval("SHOW search_path")
        fresh = await database.session()
        try:
            assert path == await fresh.fetchval("SHOW search_path")
        finally:
            await fresh.close()


async def test_behind_a_pooler_a_block_is_one_transaction(database_url: str) -> None:
    """With a direct URL nothing of a session is relied on: a block keeps to one transaction."""
    plain, behind = (
        await connect(database_url),
        await connect(database_url, direct_url=database_url),
    )
    sql = "SELECT pg_current_xact_id()::text"
    for database, same in ((plain, False), (behind, True)):
        async with database.acquire() as connection:
            assert (await connection.fetchval(sql) == await connection.fetchval(sql)) is same
        async with database.acquire("repeatable_read") as connection:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                level = await connection.fetchval("SHOW transaction_isolation")
            assert level == "repeatable read"
        await database.close()


async def test_two_urls_of_different_databases_are_refused(
    empty_url: str, database_url: str, tmp_path: Path
) -> None:
    """A pooler that leads elsewhere is noticed before anything is written."""
    with pytest.raises(DatabaseError, match="different databases"):
        async with open_database(empty_url, tmp_path, direct_url=database_url):
            pass
