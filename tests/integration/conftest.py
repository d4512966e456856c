"""A PostgreSQL for the tests: one server a session, one fresh database a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.setting import fresh_database, of_database
from headrace.store.database import Database, connect
from headrace.store.embedded import EmbeddedServer, open_embedded
from tests.databases import Copies
from tests.process.scratch import scratch_folder


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
def template(server: EmbeddedServer) -> Copies:
    """The migrated database of which tests get copies."""
    copies = Copies(server.url)
    asyncio.run(copies.make_origin())
    return copies


@pytest.fixture
async def empty_url(server: EmbeddedServer) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    url, drop = await fresh_database(server.url)
    yield url
    await drop()


@pytest.fixture
async def database_url(server: EmbeddedServer, template: Copies) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database."""
    name = await template.take()
    yield of_database(server.url, name)
    await template.give_back(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database."""
    database = await connect(database_url)
    yield database
    await database.close()
