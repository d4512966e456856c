"""Bring a database up to date: numbered ``.sql`` files, forward only, one at a time.

Alembic decides the order and keeps the version table; the SQL it plans is run by asyncpg, so
that there is one driver and one way to connect. Nobody pays for its import (half a second)
unless there is something to apply: a current database is recognised by three short queries.

Nothing here holds up a fleet that works meanwhile: a lock is waited for briefly and asked for
again, and a file that older releases cannot live with is refused while they are connected.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import asyncpg

from headrace.clock import Clock, SystemClock
from headrace.errors import DatabaseError
from headrace.store import schema, statements
from headrace.store.schema import MIGRATIONS, Migration
from headrace.telemetry import log

if TYPE_CHECKING:
    from alembic.script import Script
    from alembic.script.revision import RevisionMap

    from headrace.store.schema import Connection

# Any number, the same in every release: it names the right to migrate.
LOCK_KEY = 0x68656164_72616365  # "headrace"
QUEUE_NOTE = "pgqueuer"
LOCK_TIMEOUT = "1s"
"""Whoever waits for a table's lock holds up all who come later: never longer than this."""
LOCK_WAIT_S_MAX = 300.0
TOLD_EVERY_S = 60.0
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


async def migrate(
    connection: Connection,
    folder: Path = MIGRATIONS,
    *,
    clock: Clock | None = None,
    anyway: bool = False,
) -> list[str]:
    """Apply what is missing and return the numbers of the files applied, in order.

    Safe while other processes start at the same time, and while the previous release runs.
    The connection must not be in a transaction. With ``anyway`` nobody is asked who a file
    would leave without what they use.

    Raises DatabaseError when a newer headrace migrated this database and lets this one run no
    more, when older ones run that a file leaves no room for, when a file fails (none of it is
    kept), when its locks are not to be had, or when the files are not numbered without gaps.
    """
    migrations, clock = schema.read(folder), clock or SystemClock()
    if await _is_current(connection, migrations):
        return []
    async with _alone(connection, clock):
        applied = []
        version = await _version(connection, migrations)
        left = missing(migrations, version)
        if version is not None and not anyway:
            for migration in left:
                await _refuse_beside_older(connection, migration)
        for migration, script in _plan(migrations, left):
            await _apply(connection, migrations, migration, script, clock, anyway)
            applied.append(migration.number)
        await _bring_queue_up(connection, clock)
    return applied


async def is_current(connection: Connection) -> bool:
    """Tell whether a database is as far as this release, or further; raises ``DatabaseError``."""
    return await _is_current(connection, schema.read(MIGRATIONS))


def missing(migrations: list[Migration], version: str | None) -> list[Migration]:
    """Return the files that a database at ``version`` lacks."""
    return [one for one in migrations if version is None or one.number > version]


async def _is_current(connection: Connection, migrations: list[Migration]) -> bool:
    version = await _version(connection, migrations)
    if version is None or missing(migrations, version):
        return False
    note = await connection.fetchval(statements.load("schema/note.sql"), QUEUE_NOTE)
    return note is not None and not _is_newer(_queue_version(), note)


async def _version(connection: Connection, migrations: list[Migration]) -> str | None:
    stands = await schema.standing(connection)
    if stands is None:
        return None
    schema.refuse_too_old(stands, migrations[-1].number)
    return stands.version


@asynccontextmanager
async def _alone(connection: Connection, clock: Clock) -> AsyncIterator[None]:
    wait_s, told_s = 0.1, 0.0
    while not await connection.fetchval(statements.load("schema/lock.sql"), LOCK_KEY):
        if told_s <= 0.0:
            log().info("migration_waits", why="another process migrates this database")
            told_s = TOLD_EVERY_S
        await clock.sleep(wait_s)
        told_s -= wait_s
        wait_s = min(2.0, wait_s * 2)
    try:
        yield
    finally:
        if not connection.is_closed():  # a closed session has lost its locks
            await connection.execute(statements.load("schema/unlock.sql"), LOCK_KEY)
            # What a file has set is not for whoever has this session next.
            await connection.reset()


async def _refuse_beside_older(connection: Connection, migration: Migration) -> None:
    if not migration.contracts:
        return
    assert migration.needs is not None
    older = await schema.older_sessions(connection, migration.needs)
    if older:
        raise DatabaseError(
            f"migration {migration.path.name} takes away what releases before schema "
            f"{migration.needs} use, and such are connected: {schema.told_of(older)}",
            remedy="stop them and start again (headrace workers lists workers with their "
            "releases); nothing of it was applied; 'headrace migrate --anyway' does not ask",
        )


async def _apply(
    connection: Connection,
    migrations: list[Migration],
    migration: Migration,
    script: str,
    clock: Clock,
    anyway: bool,
) -> None:
    oldest = schema.oldest_after(migrations, migration.number)

    async def step() -> None:
        async with connection.transaction():
            await connection.execute(statements.load("schema/hurry.sql"), LOCK_TIMEOUT)
            if migration.contracts:
                # First: who starts from here on waits for the new note, who is there is seen.
                await schema.write_notes(connection, oldest)
                if not anyway:
                    await _refuse_beside_older(connection, migration)
            await connection.execute(script)
            if not migration.contracts:
                await schema.write_notes(connection, oldest)

    try:
        if migration.index is not None:
            build = partial(_build_index, connection, migration, migration.index)
            await _insist(build, migration.path.name, clock)
        await _insist(step, migration.path.name, clock)
    except asyncpg.PostgresError as error:
        raise DatabaseError(
            f"migration {migration.path.name} failed, nothing of it was kept: {error}",
            place=str(migration.path),
            remedy="the database is as it was before; report this with the message above",
        ) from error


async def _build_index(connection: Connection, migration: Migration, name: str) -> None:
    """Build the one index of a file, outside of a transaction, while others write."""
    is_whole = await connection.fetchval(statements.load("schema/index.sql"), name)
    if is_whole:
        return  # its process died before it could say so
    if is_whole is False:
        # What a build that was cut short leaves is kept up to date and never used.
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    await connection.execute(migration.text)


async def _insist(step: Callable[[], Awaitable[None]], what: str, clock: Clock) -> None:
    """Do a step, again and ever later while its locks are held by others."""
    started_s, wait_s = clock.monotonic_s(), 0.2
    while True:
        try:
            await step()
        except _BUSY as error:
            if clock.monotonic_s() - started_s >= LOCK_WAIT_S_MAX:
                raise DatabaseError(
                    f"migration {what} did not get its locks in {LOCK_WAIT_S_MAX:g} s: {error}",
                    remedy="nothing of it was kept, and others worked on; end the transaction that "
                    "has run longest (pg_stat_activity, xact_start), then start again",
                ) from error
            log().info("migration_waits", migration=what, why=str(error), again_s=wait_s)
            await clock.sleep(wait_s)
            wait_s = min(5.0, wait_s * 2)
        else:
            return


def _plan(migrations: list[Migration], left: list[Migration]) -> Iterator[tuple[Migration, str]]:
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
        if migration in left:
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
    # An index that is built outside of a transaction was built when its step is written down.
    text = migration.text if migration.index is None else ""
    # Written as it stands: anything that parses it would trip over ':' and '%'.
    script.module.__dict__["upgrade"] = lambda: context.impl.static_output(f"{text}\n;\n")
    context.run_migrations()
    return out.getvalue()


async def _bring_queue_up(connection: Connection, clock: Clock) -> None:
    """Install or upgrade the queue's own tables when an older release of it made them.

    A newer one is left alone: its own release runs beside this one.
    """
    version = _queue_version()
    note = await connection.fetchval(statements.load("schema/note.sql"), QUEUE_NOTE)
    if note is not None and not _is_newer(version, note):
        return
    from pgqueuer.queries import Queries

    # A connection lent by the pool forwards everything to the one it stands for.
    queries = Queries.from_asyncpg_connection(
        cast("asyncpg.Connection[asyncpg.Record]", connection)
    )

    async def step() -> None:
        if not await queries.schema_is_installed():
            # One transaction: an install that was cut short could be neither used nor repeated.
            async with connection.transaction():
                await queries.install()
        else:
            await connection.execute(statements.load("schema/hurry_all.sql"), LOCK_TIMEOUT)
            await queries.upgrade()

    await _insist(step, "of the queue", clock)
    await connection.execute(statements.load("schema/put_note.sql"), QUEUE_NOTE, version)


def _queue_version() -> str:
    return importlib.metadata.version("pgqueuer")


def _is_newer(version: str, than: str) -> bool:
    return _numbers(version) > _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
