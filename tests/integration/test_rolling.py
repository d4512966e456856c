"""Releases side by side: what an older one may do on a newer schema, and what a migration may."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from headrace.clock import SystemClock
from headrace.errors import DatabaseError
from headrace.loops.heart import Heart
from headrace.store import migrate as runner
from headrace.store import schema, statements
from headrace.store.database import connect, open_database
from headrace.store.migrate import migrate
from headrace.store.schema import MIGRATIONS
from headrace.testing import ManualClock
from headrace.writer import GroupCommit

OWN = schema.read()[-1].number
NEXT = f"{int(OWN) + 1:04}"
AFTER = f"{int(OWN) + 2:04}"
EXPANDS = "-- rolling: expands\n"
Release = Callable[..., Path]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Lay out the files of a later release: this one's, and those that are given."""

    def lay(**files: str) -> Path:
        folder = tmp_path / "migrations"
        if not folder.exists():
            shutil.copytree(MIGRATIONS, folder)
        for name, text in files.items():
            (folder / f"{name.removeprefix('m')}.sql").write_text(text, encoding="utf-8")
        return folder

    return lay


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Callable[..., Any]]:
    """Open sessions under a name of one's choice."""
    opened = []

    async def open_session(name: str = f"headrace/{NEXT}") -> asyncpg.Connection[Any]:
        settings = {"application_name": name}
        opened.append(await asyncpg.connect(database_url, server_settings=settings))
        return opened[-1]

    yield open_session
    for one in opened:
        await one.close()


def file(number: str, name: str, text: str) -> dict[str, str]:
    """One more file of a release."""
    return {f"m{number}_{name}": text}


async def test_an_older_release_starts_beside_an_expansion(
    database_url: str, sessions, release: Release, tmp_path: Path
) -> None:
    """What only adds lets the release before start, and leaves it nothing to migrate."""
    folder = release(**file(NEXT, "more", EXPANDS + "ALTER TABLE worker ADD more text"))
    assert await migrate(await sessions(), folder) == [NEXT]
    async with open_database(database_url, tmp_path) as database:
        async with database.acquire() as connection:
            assert await connection.fetchval(statements.load("schema/version.sql")) == NEXT
            await database.check(connection)
        assert not database.outdated.is_set()


@pytest.mark.parametrize("name", ["headrace", f"headrace/{OWN}"])
async def test_a_contraction_waits_for_older_sessions(
    sessions, release: Release, name: str
) -> None:
    """While a release that it would break is connected, nothing is applied; then it is."""
    text = f"-- rolling: contracts, needs {NEXT}\nALTER TABLE worker DROP COLUMN classes"
    folder = release(**file(NEXT, "less", text))
    older, newer = await sessions(name), await sessions()
    with pytest.raises(DatabaseError, match=rf"{NEXT}_less\.sql takes away.*1 sessions.*\n.*stop"):
        await migrate(newer, folder)
    assert await newer.fetchval(statements.load("schema/version.sql")) == OWN
    await older.execute("SELECT classes FROM worker")
    await older.close()
    await _until_gone(newer, name)
    assert await migrate(newer, folder) == [NEXT]


async def test_a_refused_contraction_keeps_the_expansions_before_it_away(
    sessions, release: Release
) -> None:
    """A release whose later file has to wait leaves the database as it was, all of it."""
    folder = release(
        **file(NEXT, "more", EXPANDS + "ALTER TABLE worker ADD more text"),
        **file(AFTER, "less", f"-- rolling: contracts, needs {NEXT}\nDROP TABLE cutting"),
    )
    await sessions(f"headrace/{OWN}")
    newer = await sessions()
    with pytest.raises(DatabaseError, match="takes away"):
        await migrate(newer, folder)
    assert await newer.fetchval(statements.load("schema/version.sql")) == OWN


async def test_anyway_asks_nobody_and_the_older_release_ends(
    database_url: str, sessions, release: Release, tmp_path: Path
) -> None:
    """A contraction that was forced is seen by what runs at its next beat, and refuses starts."""
    # Its own sign of life trips over what is gone.
    text = f"-- rolling: contracts, needs {NEXT}\nALTER TABLE worker DROP COLUMN draining_at"
    folder = release(**file(NEXT, "less", text))
    database = await connect(database_url)
    try:
        took_no_more: list[bool] = []
        worker: Any = SimpleNamespace(id=1, take_no_more=lambda: took_no_more.append(True))
        heart = Heart(database, ManualClock(), worker, asyncio.Event(), 10.0)
        await heart.tick()
        assert not database.outdated.is_set()
        assert await migrate(await sessions(), folder, anyway=True) == [NEXT]
        await heart.tick()
        await heart.tick()
        assert took_no_more == [True]
        with pytest.raises(DatabaseError, match=f"needs a release that knows {NEXT}"):
            database.refuse_outdated()
    finally:
        await database.close()
    with pytest.raises(DatabaseError, match=r"newer headrace.*\n.*upgrade"):
        async with open_database(database_url, tmp_path):
            raise AssertionError("it must not open")


async def test_a_contraction_that_spares_the_release_before_asks_nobody_of_it(
    sessions, release: Release
) -> None:
    """What a file needs decides, not that it is newer."""
    folder = release(
        **file(NEXT, "less", f"-- rolling: contracts, needs {OWN}\nDROP TABLE cutting")
    )
    await sessions(f"headrace/{OWN}")
    newer = await sessions()
    assert await migrate(newer, folder) == [NEXT]
    stands = await schema.standing(newer)
    assert stands is not None
    assert (stands.version, stands.oldest) == (NEXT, OWN)


async def test_who_starts_while_a_contraction_commits_is_seen_or_sees_it(
    sessions, release: Release
) -> None:
    """There is no moment in which an older release gets in unseen and goes on."""
    older, newer = await sessions(f"headrace/{OWN}"), await sessions()
    await schema.write_notes(newer, OWN)
    transaction = newer.transaction()
    await transaction.start()
    await schema.write_notes(newer, NEXT)
    starting = asyncio.create_task(schema.standing(older))
    await _until(newer, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    assert [one.schema for one in await schema.older_sessions(newer, NEXT)] == [OWN]
    await transaction.commit()
    stands = await starting
    assert stands is not None
    with pytest.raises(DatabaseError):
        schema.refuse_too_old(stands, OWN)


async def test_a_long_transaction_delays_a_migration_and_nobody_else(
    sessions, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is not to be had is let go of and asked for again; others pass in between."""
    monkeypatch.setattr(runner, "LOCK_TIMEOUT", "50ms")
    folder = release(**file(NEXT, "more", EXPANDS + "ALTER TABLE worker ADD more text"))
    holder, other, newer = await sessions(), await sessions(), await sessions()
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT count(*) FROM worker")
    waits: list[float] = []
    clock = ManualClock()

    async def pause(duration_s: float) -> None:
        waits.append(duration_s)
        await other.execute("UPDATE worker SET host = host")  # nobody stands before it
        if len(waits) == 3:
            await transaction.commit()

    monkeypatch.setattr(clock, "sleep", pause)
    assert await migrate(newer, folder, clock=clock) == [NEXT]
    assert waits == [0.2, 0.4, 0.8]


async def test_a_lock_that_is_never_to_be_had_is_given_up(
    sessions, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five minutes the start fails with the remedy, and nothing of the file is kept."""
    monkeypatch.setattr(runner, "LOCK_TIMEOUT", "20ms")
    folder = release(**file(NEXT, "more", EXPANDS + "ALTER TABLE worker ADD more text"))
    holder, newer = await sessions(), await sessions()
    await holder.execute("BEGIN; SELECT count(*) FROM worker")
    clock, passed_s = ManualClock(), [0.0]

    async def pause(duration_s: float) -> None:
        passed_s[0] += 100.0

    monkeypatch.setattr(clock, "sleep", pause)
    monkeypatch.setattr(clock, "monotonic_s", lambda: passed_s[0])
    with pytest.raises(DatabaseError, match=r"did not get its locks in 300 s.*\n.*xact_start"):
        await migrate(newer, folder, clock=clock)
    await holder.execute("ROLLBACK")
    assert await migrate(newer, folder) == [NEXT]


async def test_an_index_is_built_while_others_wait_to_migrate_and_to_write(
    database_url: str, release: Release
) -> None:
    """Two that start together build it once; nobody who waits for his turn is waited for."""
    folder = release(
        **file(NEXT, "by_host", EXPANDS + "CREATE INDEX CONCURRENTLY by_host ON worker (host)")
    )
    both = [await asyncpg.connect(database_url) for _ in range(2)]
    applied = await asyncio.gather(*(migrate(one, folder) for one in both))
    assert sorted(applied) == [[], [NEXT]]
    assert await both[0].fetchval(statements.load("schema/index.sql"), "by_host") is True
    for one in both:
        await one.close()


@pytest.mark.parametrize("is_whole", [True, False])
async def test_an_index_whose_build_was_cut_short_is_built_again(
    sessions, release: Release, is_whole: bool
) -> None:
    """A kill between building an index and writing it down, or in its midst, leaves it mendable."""
    text = "CREATE INDEX CONCURRENTLY by_host ON worker (host)"
    folder = release(**file(NEXT, "by_host", EXPANDS + text))
    newer = await sessions()
    await newer.execute(text)
    if not is_whole:
        # What a cut build leaves; an index cannot be made invalid by plain SQL.
        await newer.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_host'::regclass"
        )
    assert await migrate(newer, folder) == [NEXT]
    assert await newer.fetchval(statements.load("schema/index.sql"), "by_host") is True


async def test_an_older_release_leaves_a_newer_queue_alone(sessions) -> None:
    """The queue's tables are never brought back to an older release of it."""
    newer = await sessions()
    await newer.execute("UPDATE schema_note SET value = '99.10.2' WHERE key = 'pgqueuer'")
    assert await migrate(newer) == []
    note = await newer.fetchval(statements.load("schema/note.sql"), "pgqueuer")
    assert note == "99.10.2"


async def test_no_statement_gives_more_when_tables_get_columns(sessions) -> None:
    """Each names what it gives: a column that a later release adds changes no prepared plan."""
    session = await sessions()
    before = {name: await _given(session, name) for name in statements.names()}
    for row in await session.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ):
        await session.execute(f'ALTER TABLE "{row["relname"]}" ADD COLUMN a_later_one text')
    assert {name: await _given(session, name) for name in statements.names()} == before


async def test_a_changed_column_costs_a_prepared_statement_one_try(sessions) -> None:
    """In a transaction the driver raises, and has forgotten the plan: the next try succeeds."""
    older, newer = await sessions(), await sessions()
    await newer.execute("CREATE TABLE changed (x int); INSERT INTO changed VALUES (1)")
    asked = "SELECT x FROM changed"
    async with older.transaction():
        assert await older.fetchval(asked) == 1
    await newer.execute("ALTER TABLE changed ALTER COLUMN x TYPE bigint")
    with pytest.raises(asyncpg.InvalidCachedStatementError):
        async with older.transaction():
            await older.fetchval(asked)
    async with older.transaction():
        assert await older.fetchval(asked) == 1


async def test_a_group_commit_goes_on_when_a_column_changes_under_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single write whose plan went stale is looked up and written again, not lost."""
    database, clock = await connect(database_url, connections_max=1), ManualClock()
    again: list[bool] = []

    async def pause(duration_s: float) -> None:
        """Try again at once."""

    monkeypatch.setattr(clock, "sleep", pause)

    async def write(connection: Any, group: list[int], now: Any, is_again: bool) -> list[int]:
        again.append(is_again)
        given = await connection.fetchval("INSERT INTO changed VALUES ($1::int) RETURNING x", 7)
        return [given for _ in group]

    group_commit: GroupCommit[int, int] = GroupCommit(database, clock, write, "settle-after-commit")
    try:
        async with database.acquire() as connection:
            await connection.execute("CREATE TABLE changed (x int)")
        group_commit.start()
        assert await group_commit.hand_in(1) == 7
        session = await database.session()
        await session.execute("ALTER TABLE changed ALTER COLUMN x TYPE bigint")
        await session.close()
        assert await group_commit.hand_in(2) == 7
        assert again == [False, False, True]
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM changed") == 2
    finally:
        await group_commit.stop()
        await database.close()


async def _given(session: Any, name: str) -> list[tuple[str, str]]:
    prepared = await session.prepare(statements.load(name))
    return [(one.name, one.type.name) for one in prepared.get_attributes()]


async def _until_gone(session: Any, name: str) -> None:
    await _until(
        session,
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE application_name = $1 AND datname = current_database())",
        name,
    )


async def _until(session: Any, sql: str, *values: str) -> None:
    """Wait until the server says so: its processes end and lock in their own time."""
    for _ in range(400):
        if await session.fetchval(sql, *values):
            return
        await SystemClock().sleep(0.02)
    raise AssertionError(sql)
