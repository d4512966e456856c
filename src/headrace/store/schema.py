"""The database's schema: its numbered files, which releases may run on it, and which do.

A release has the schema of its last file, such as ``0021``. The database keeps the oldest schema
that code may have to run on it: a file that **expands** leaves that as it is, one that
**contracts** raises it (docs/decisions/0019-rolling-upgrades.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from headrace.errors import DatabaseError
from headrace.store import statements
from headrace.version import VERSION

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

MIGRATIONS = Path(__file__).parent / "migrations"
FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
RULE = re.compile(r"^-- rolling: (?:(expands)|contracts, needs (\d{4}))$", re.MULTILINE)
TOLD_FROM = "0021"
"""From this file on each says whether older releases go on beside it."""
OLDEST_NOTE = "oldest_schema"
RELEASE_NOTE = "migrated_by"
_COMMENT = re.compile(r"--.*")
_CONCURRENTLY = re.compile(
    r"\A\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?!ON\s)(\w+)\s+ON\s", re.I
)


@dataclass(frozen=True)
class Migration:
    """One numbered file; ``needs``: the oldest schema whose code may run beside it.

    ``needs`` is ``None`` where all may that could before. ``index`` is the name of the one index
    that the file makes ``CONCURRENTLY``, outside of a transaction.
    """

    number: str
    path: Path
    needs: str | None = None
    index: str | None = None

    @property
    def contracts(self) -> bool:
        """Tell whether it takes away what older releases, which may be running, use."""
        return self.needs is not None and self.number >= TOLD_FROM

    @property
    def text(self) -> str:
        """The SQL as it is written."""
        return self.path.read_text(encoding="utf-8").rstrip().rstrip(";")


@dataclass(frozen=True)
class Standing:
    """Where a database stands: its last file, and the oldest schema that may run on it."""

    version: str
    oldest: str
    migrated_by: str = ""


@dataclass(frozen=True)
class OlderSession:
    """A session of code with an older schema; of a worker, where it is the worker's own."""

    schema: str
    address: str
    worker: str | None


def read(folder: Path = MIGRATIONS) -> list[Migration]:
    """Return the files of a folder in order.

    Raises DatabaseError when they are not numbered without gaps, or one from ``TOLD_FROM`` on
    does not say whether it expands or contracts.
    """
    paths = sorted(folder.glob("*.sql"))
    migrations = [
        _migration(match.group(1), path)
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


def _migration(number: str, path: Path) -> Migration:
    if number < TOLD_FROM:
        return Migration(number, path, needs=number)
    text = path.read_text(encoding="utf-8")
    found = RULE.findall(text)
    if len(found) != 1 or found[0][1] > number:
        raise DatabaseError(
            "a migration says once, and this one does not, who may run beside it",
            place=str(path),
            remedy="install headrace again; when writing one, put a line '-- rolling: expands' or "
            "'-- rolling: contracts, needs NNNN' in it: see docs/decisions",
        )
    return Migration(number, path, found[0][1] or None, _concurrent_index(text, path))


def _concurrent_index(text: str, path: Path) -> str | None:
    bare = _COMMENT.sub("", text).strip().rstrip(";")
    if "CONCURRENTLY" not in bare.upper():
        return None
    match = _CONCURRENTLY.match(bare)
    if match is None or ";" in bare:
        raise DatabaseError(
            "what is done CONCURRENTLY is done outside of a transaction, so it stands alone",
            place=str(path),
            remedy="make the file one CREATE INDEX CONCURRENTLY with a plain name, nothing else",
        )
    return match.group(1)


def oldest_after(migrations: list[Migration], number: str) -> str:
    """Return the oldest schema whose code may run on a database that is at ``number``."""
    return max(one.needs for one in migrations if one.needs is not None and one.number <= number)


@cache
def own() -> str:
    """Return the schema of this code, as it was when the process began to use a database.

    Files that an upgrade lays in their place meanwhile are another release's.
    """
    return read(MIGRATIONS)[-1].number


def session_name() -> str:
    """Return what this release's sessions are called: others see by it how old it is."""
    return f"headrace/{own()}"


async def standing(connection: Connection, *, waits: bool = True) -> Standing | None:
    """Return where a database stands, or ``None`` where nothing was ever migrated.

    ``waits`` while somebody is about to raise the oldest schema: whoever asks so is seen by them,
    or sees what they wrote.
    """
    try:
        version = await connection.fetchval(statements.load("schema/version.sql"))
    except asyncpg.UndefinedTableError:
        return None
    if version is None:
        return None
    name = "schema/standing_now.sql" if waits else "schema/standing.sql"
    rows = await connection.fetch(statements.load(name), [OLDEST_NOTE, RELEASE_NOTE])
    notes = {row["key"]: row["value"] for row in rows}
    # Releases that left no note let nothing older run.
    return Standing(version, notes.get(OLDEST_NOTE, version), notes.get(RELEASE_NOTE, ""))


def refuse_too_old(stands: Standing, known: str) -> None:
    """Raise DatabaseError where code of schema ``known`` may not run on the database."""
    if known >= stands.oldest:
        return
    by = f" ({stands.migrated_by})" if stands.migrated_by else ""
    raise DatabaseError(
        f"this database was migrated by a newer headrace{by}: it is at {stands.version} and needs "
        f"a release that knows {stands.oldest}; this one, {VERSION}, knows up to {known}",
        remedy="upgrade headrace to the release that the other processes run, "
        "or restore a backup from before its migration",
    )


async def check(connection: Connection, *, waits: bool = False) -> None:
    """Raise DatabaseError where this release may not, or no longer, run on the database."""
    stands = await standing(connection, waits=waits)
    if stands is not None:
        refuse_too_old(stands, own())


async def write_notes(connection: Connection, oldest: str) -> None:
    """Write down who may run, and which release says so; in the transaction of a migration."""
    for key, value in ((OLDEST_NOTE, oldest), (RELEASE_NOTE, VERSION)):
        await connection.execute(statements.load("schema/put_note.sql"), key, value)


async def older_sessions(connection: Connection, needs: str) -> list[OlderSession]:
    """Return the sessions in this database of releases whose schema is older than ``needs``."""
    rows = await connection.fetch(statements.load("schema/older_sessions.sql"), needs)
    return [OlderSession(row["schema"], row["address"], row["worker"]) for row in rows]


def told_of(sessions: list[OlderSession]) -> str:
    """Return who the sessions are, in words for people."""
    workers = sorted({one.worker for one in sessions if one.worker is not None})
    if workers:
        return ", ".join(workers)
    places = ", ".join(sorted({one.address for one in sessions}))
    return f"{len(sessions)} sessions from {places}"
