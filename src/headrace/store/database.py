"""The database in use: a pool of connections to a PostgreSQL that keeps what it acknowledges."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import asyncpg

from headrace.clock import Clock, SystemClock
from headrace.errors import ConfigError, DatabaseError
from headrace.store import schema, statements
from headrace.store.migrate import is_current, migrate
from headrace.store.reachable import Session, watched_by_server

if TYPE_CHECKING:
    from headrace.store.embedded import EmbeddedServer
    from headrace.store.schema import Connection

Isolation = Literal["read_committed", "repeatable_read", "serializable"]
POOLED = "headrace pooled"
VERSION_NUM_MIN = 150_000
STARTING_S_MAX = 60.0
CONNECT_TIMEOUT_S = 20.0
# A server that loses acknowledged commits would pay twice and lose items.
UNSAFE = "off"
GUARDS = ("fsync", "full_page_writes", "synchronous_commit")


@contextmanager
def session_may_end() -> Iterator[None]:
    """Have a session that is ended meanwhile raise ``asyncpg.ConnectionDoesNotExistError``.

    The driver says it in words of its own when the end comes before a question or in the
    middle of an answer.
    """
    try:
        yield
    except asyncpg.InternalClientError as error:
        raise asyncpg.ConnectionDoesNotExistError(str(error)) from error


class Database:
    """A pool of connections; ``connect`` makes it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        server: EmbeddedServer | None = None,
        url: str = "",
        pooled: bool = False,
    ) -> None:
        """``url`` leads to the server itself; ``pooled``: the pool's goes through a pooler."""
        self.pool = pool
        self._url = url
        self._pooled = pooled
        #: The embedded server where it is ours: run its ``watch`` beside the engine.
        self.server = server
        #: Set once this release may not run on the database any more: see ``check``.
        self.outdated = asyncio.Event()
        self._refusal: DatabaseError | None = None

    @asynccontextmanager
    async def acquire(self, isolation: Isolation | None = None) -> AsyncIterator[Connection]:
        """Lend a connection; it belongs to one task until the block ends.

        Behind a pooler the block is one transaction, of ``isolation``: between transactions
        each message may reach another server session, and a statement takes several. A block
        that wants a snapshot (``transaction(isolation=...)``) names the same one here.
        Raises OSError or asyncpg's errors when the server cannot be reached.
        """
        with session_may_end():
            async with self.pool.acquire() as connection:
                if not self._pooled:
                    yield connection
                    return
                async with connection.transaction(isolation=isolation):
                    yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection in a transaction: committed at the end, undone on an error."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def session(self) -> asyncpg.Connection[asyncpg.Record]:
        """Return a connection apart from the pool, for listening and session locks.

        The caller closes it. Raises OSError or asyncpg's errors.
        """
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT_S,
            connection_class=Session,
            server_settings={"application_name": schema.session_name()},
        )
        try:
            await watched_by_server(connection)
        except BaseException:  # broad: nobody would close it
            connection.terminate()
            raise
        return connection

    async def migrate(self, *, anyway: bool = False) -> list[str]:
        """Bring the database up to date; returns and raises what ``migrate`` does."""
        if not self._pooled:
            async with self.acquire() as connection:
                return await migrate(connection, anyway=anyway)
        # Who migrates holds a lock of its session meanwhile.
        session = await self.session()
        try:
            applied = await migrate(session, anyway=anyway)
        finally:
            await session.close()
        async with self.acquire() as connection:
            if not await is_current(connection):
                raise DatabaseError(
                    "HEADRACE_DATABASE_URL and HEADRACE_DATABASE_DIRECT_URL lead to "
                    "different databases",
                    remedy="let the second name the server and database behind the pooler",
                )
        return applied

    async def check(self, connection: Connection, *, waits: bool = False) -> None:
        """Raise DatabaseError, and set ``outdated``, where this release may run on it no more.

        A migration may have taken away what it uses since it started. ``waits``: see ``standing``.
        """
        try:
            await schema.check(connection, waits=waits)
        except DatabaseError as error:
            self._refusal = error
            self.outdated.set()
            raise

    def refuse_outdated(self) -> None:
        """Raise the DatabaseError by which ``check`` has set ``outdated``, if it has."""
        if self._refusal is not None:
            raise self._refusal

    async def close(self) -> None:
        """Wait until all connections are returned, and close them."""
        await self.pool.close()


async def connect(
    url: str,
    *,
    connections_max: int = 10,
    server: EmbeddedServer | None = None,
    clock: Clock | None = None,
    direct_url: str | None = None,
) -> Database:
    """Return a pool of 1 to ``connections_max`` connections to a server that is safe to use.

    JSON columns stay text: callers encode and decode them. With ``direct_url``, which leads to
    the server itself, ``url`` may go through a pooler that pools transactions.

    Raises ConfigError when the URL is not one; DatabaseError when the server cannot be
    reached, is older than PostgreSQL 15, or may lose acknowledged commits.
    """
    pooled = direct_url is not None
    pool = await _pool(url, connections_max, clock or SystemClock(), pooled)
    database = Database(pool, server, direct_url or url, pooled)
    try:
        async with database.acquire() as connection:
            await _check_safety(connection)
    except BaseException:  # broad: a pool must not outlive a refused server
        pool.terminate()
        raise
    return database


@asynccontextmanager
async def open_database(
    url: str | None,
    home: Path,
    *,
    connections_max: int = 10,
    clock: Clock | None = None,
    direct_url: str | None = None,
    as_it_is: bool = False,
) -> AsyncIterator[Database]:
    """Open the database at ``url``, or the embedded one of ``home``, brought up to date.

    With ``as_it_is`` nothing is migrated, and nothing asked of its schema.

    Raises what ``open_embedded``, ``connect`` and ``migrate`` raise.
    """
    server: EmbeddedServer | None = None
    if url is None:
        if sys.platform == "win32":
            raise DatabaseError(
                "headrace brings its own database on Linux and macOS only",
                remedy="run headrace in WSL, or set HEADRACE_DATABASE_URL to a PostgreSQL server",
            )
        # The embedded server is not even imported where another one is used.
        from headrace.store.embedded import open_embedded

        server = await open_embedded(home, clock=clock)
        url = server.url
    try:
        database = await connect(
            url,
            connections_max=connections_max,
            server=server,
            clock=clock,
            direct_url=direct_url if server is None else None,
        )
        try:
            if not as_it_is:
                await database.migrate()
            yield database
        finally:
            await database.close()
    finally:
        if server is not None:
            await server.close()


async def _pool(url: str, connections_max: int, clock: Clock, pooled: bool) -> asyncpg.Pool:
    name = schema.session_name()
    more: dict[str, Any] = {"init": watched_by_server}
    if pooled:
        # A statement prepared on one server session is not known on the next, nor what is set
        # there. And they keep the name of who had them last, also when he is long gone.
        name, more = POOLED, {"statement_cache_size": 0}
    deadline_s = clock.monotonic_s() + STARTING_S_MAX
    while True:
        try:
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections_max,
                timeout=CONNECT_TIMEOUT_S,
                connection_class=Session,
                reset=_as_it_is,
                server_settings={"application_name": name},
                **more,
            )
        except asyncpg.CannotConnectNowError as error:
            # It starts or replays its log: it will be there in a moment.
            if clock.monotonic_s() >= deadline_s:
                raise _unreachable(error) from error
            await clock.sleep(0.1)
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            raise ConfigError(
                f"this is not the URL of a PostgreSQL database: {error}",
                place="HEADRACE_DATABASE_URL",
                remedy="write it as postgresql://user:password@host:5432/database",
            ) from error
        except (OSError, asyncpg.PostgresError) as error:
            raise _unreachable(error) from error


async def _as_it_is(connection: Connection) -> None:
    """Leave a session that comes back to the pool as it is.

    The driver would ask the server to forget settings, locks, cursors and listeners of the
    session, one more round trip for each thing that is asked. Nobody leaves any: they belong
    to ``session``. Transactions are ended before this is called.
    """


def _unreachable(error: Exception) -> DatabaseError:
    # The URL holds a password, so it is not shown; the driver's words name host and database.
    return DatabaseError(
        f"the database cannot be reached: {error!r}",
        remedy="see that the server runs and that HEADRACE_DATABASE_URL names the right host, "
        "database, user and password; without that setting headrace brings its own server",
    )


async def _check_safety(connection: Connection) -> None:
    row = await connection.fetchrow(statements.load("schema/safety.sql"))
    assert row is not None
    if row["version_num"] < VERSION_NUM_MIN:
        raise DatabaseError(
            f"the server is PostgreSQL {row['version']}, headrace needs 15 or newer",
            remedy="upgrade the server, or point HEADRACE_DATABASE_URL at a newer one",
        )
    unsafe = [name for name in GUARDS if row[name] == UNSAFE]
    if unsafe:
        raise DatabaseError(
            f"the server may lose commits that it acknowledged: {', '.join(unsafe)} is off",
            remedy=_how_to_switch_on(unsafe),
        )


def _how_to_switch_on(unsafe: list[str]) -> str:
    commands = " ".join(f"ALTER SYSTEM SET {name} = on;" for name in unsafe)
    remedy = f"as a superuser run: {commands} SELECT pg_reload_conf();"
    if "synchronous_commit" in unsafe:
        remedy += " (and look for the setting at the role and the database: \\drds in psql)"
    return remedy
