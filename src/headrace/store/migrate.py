"""Bring a database up to date: numbered ``.sql`` files, forward only, one at a time.

Alembic decides the order and keeps the version table; the SQL it plans is run by asyncpg, so
that there is one driver and one way to connect. Nobody pays for its import (half a second)
unless there is something to apply: a current database is recognised by one query.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, cast

import asyncpg

from headrace.errors import DatabaseError
from headrace.store import statements

if TYPE_CHECKING:
    from alembic.script import Script
    from alembic.script.revision import RevisionMap
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

MIGRATIONS = Path(__file__).parent / "migrations"
FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Any number, the same in every release: it names the right to migrate.
LOCK_KEY = 0x68656164_72616365  # "headrace"
QUEUE_NOTE = "pgqueuer"


@dataclass(frozen=True)
class Migration:
    """One numbered file."""

    number: str
    path: Path


async def migrate(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing and return the numbers of the files applied, in order.

    Safe while other processes start at the same time, and while the previous release runs.
    The connection must not be in a transaction.

    Raises DatabaseError when a newer headrace migrated this database, when a file fails
    (none of it is kept), or when the files are not numbered without gaps.
    """
    migrations = _read(folder)
    if await _is_current(connection, migrations):
        return []
    async with _alone(connection):
        applied = []
        for migration, script in _plan(migrations, await _version(connection, migrations)):
            await _apply(connection, migration, script)
            applied.append(migration.number)
        await _bring_queue_up(connection)
    return applied


async def is_current(connection: Connection) -> bool:
    """Tell whether a database is as far as this release; raises ``DatabaseError``."""
    return await _is_current(connection, _read(MIGRATIONS))


def _read(folder: Path) -> list[Migration]:
    paths = sorted(folder.glob("*.sql"))
    migrations = [
        Migration(match.group(1), path)
        for path in paths
        if (match := FILE_NAME.fullmatch(path.name))
    ]
    expected = [f"{number:04}" for number in range(len(paths))]
    if not paths or [migration.number for migration in migrations] != expected:
        raise DatabaseError(
            f"migrations are not numbered 0000, 0001, ...: {[path.name for path in paths]}",
            place=str(folder),
            remedy="install headrace again; when writing one, name it NNNN_what_it_does.sql",
        )
    return migrations


async def _is_current(connection: Connection, migrations: list[Migration]) -> bool:
    if await _version(connection, migrations) != migrations[-1].number:
        return False
    note = await connection.fetchval(statements.load("schema/note.sql"), QUEUE_NOTE)
    return bool(note == _queue_version())


async def _version(connection: Connection, migrations: list[Migration]) -> str | None:
    try:
        version = await connection.fetchval(statements.load("schema/version.sql"))
    except asyncpg.UndefinedTableError:
        return None
    if version is not None and version not in {migration.number for migration in migrations}:
        raise DatabaseError(
            f"this database was migrated by a newer headrace: it is at {version}, "
            f"this release knows up to {migrations[-1].number}",
            remedy="upgrade headrace to the release that the other processes run, "
            "or restore a backup from before its migration",
        )
    return str(version) if version is not None else None


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    await connection.execute(statements.load("schema/lock.sql"), LOCK_KEY)
    try:
        yield
    finally:
        if not connection.is_closed():  # a closed session has lost its locks
            await connection.execute(statements.load("schema/unlock.sql"), LOCK_KEY)
            # What a file has set is not for whoever has this session next.
            await connection.reset()


async def _apply(connection: Connection, migration: Migration, script: str) -> None:
    try:
        async with connection.transaction():
            await connection.execute(script)
    except asyncpg.PostgresError as error:
        raise DatabaseError(
            f"migration {migration.path.name} failed, nothing of it was kept: {error}",
            place=str(migration.path),
            remedy="the database is as it was before; report this with the message above",
        ) from error


def _plan(migrations: list[Migration], version: str | None) -> Iterator[tuple[Migration, str]]:
    """Yield each missing migration with its script, the step of the version table included."""
    from alembic.script import Script
    from alembic.script.revision import RevisionMap

    scripts: list[Script] = []
    for migration in migrations:
        module = ModuleType(migration.path.stem, doc=migration.path.stem)
        module.__dict__["down_revision"] = scripts[-1].revision if scripts else None
        module.__dict__["upgrade"] = _not_planned
        scripts.append(Script(module, migration.number, migration.path))
    revisions = RevisionMap(lambda: scripts)
    assert revisions.get_current_head() == migrations[-1].number  # asking builds the map
    for migration, script in zip(migrations, scripts, strict=True):
        if version is None or migration.number > version:
            yield migration, _render(revisions, script, migration)


def _not_planned() -> None:
    """Stand for a migration outside of ``_render``, where it has nothing to write to."""
    raise AssertionError("a migration runs only when it is rendered")


def _render(revisions: RevisionMap, script: Script, migration: Migration) -> str:
    from alembic.runtime.migration import MigrationContext, MigrationStep

    out = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={
            "as_sql": True,
            "output_buffer": out,
            "starting_rev": script.module.down_revision,
            "fn": lambda heads, context: [MigrationStep.upgrade_from_script(revisions, script)],
        },
    )
    text = migration.path.read_text(encoding="utf-8").rstrip().rstrip(";")
    # Written as it stands: anything that parses it would trip over ':' and '%'.
    script.module.__dict__["upgrade"] = lambda: context.impl.static_output(f"{text}\n;\n")
    context.run_migrations()
    return out.getvalue()


async def _bring_queue_up(connection: Connection) -> None:
    """Install or upgrade the queue's own tables when another release of it made them."""
    version = _queue_version()
    if await connection.fetchval(statements.load("schema/note.sql"), QUEUE_NOTE) == version:
        return
    from pgqueuer.queries import Queries

    # A connection lent by the pool forwards everything to the one it stands for.
    queries = Queries.from_asyncpg_connection(
        cast("asyncpg.Connection[asyncpg.Record]", connection)
    )
    if not await queries.schema_is_installed():
        # One transaction: an install that was cut short could be neither used nor repeated.
        async with connection.transaction():
            await queries.install()
    else:
        await queries.upgrade()
    await connection.execute(statements.load("schema/put_note.sql"), QUEUE_NOTE, version)


def _queue_version() -> str:
    return importlib.metadata.version("pgqueuer")
