"""A PostgreSQL for the tests: one server a session, one fresh database a test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from headrace.store.database import Database, connect
from headrace.store.embedded import EmbeddedServer, open_embedded
from headrace.store.migrate import migrate
from tests.process.scratch import scratch_folder

TEMPLATE = "headrace_template"


def of_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def execute(url: str, sql: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that the server's uid can enter when the tests run as root, unlike tmp_path."""
    with scratch_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def server(scratch: Path) -> Iterator[EmbeddedServer]:
    """The server of this session; with several test processes, each has its own."""
    owner = asyncio.run(open_embedded(scratch / "home", system_place=scratch / "system"))
    yield owner
    asyncio.run(owner.close())


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """The name of a migrated database that others are copied from."""

    async def make() -> None:
        await execute(server.url, f"CREATE DATABASE {TEMPLATE}")
        connection = await asyncpg.connect(of_database(server.url, TEMPLATE))
        try:
            await migrate(connection)
        finally:
            await connection.close()

    asyncio.run(make())
    return TEMPLATE


async def lend(server: EmbeddedServer, origin: str) -> AsyncIterator[str]:
    """Make a database as a copy of another, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    await execute(server.url, f"CREATE DATABASE {name} TEMPLATE {origin}")
    yield of_database(server.url, name)
    await execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_url(server: EmbeddedServer) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    async for url in lend(server, "template1"):
        yield url


@pytest.fixture
async def database_url(server: EmbeddedServer, template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database."""
    async for url in lend(server, template):
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database."""
    database = await connect(database_url)
    yield database
    await database.close()
