"""The hub's services as its hosts reach them: a PostgreSQL over TCP, and relays to the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import asyncpg

from bench.cut.hosts import DATA_HUB
from bench.setting import fresh_database
from headrace.store.embedded import cluster, open_embedded

_CHUNK_BYTES = 1 << 16


@contextlib.asynccontextmanager
async def database(folder: Path) -> AsyncIterator[str]:
    """Run a server that listens on the hub's address; yields the URL of an empty database."""
    with mock.patch.dict(cluster.SETTINGS, listen_addresses=DATA_HUB):
        server = await open_embedded(folder)
    try:
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")
        connection = await asyncpg.connect(server.url)
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        url, _ = await fresh_database(server.url)
        parts = urlsplit(url)
        yield f"postgresql://{parts.username}:{parts.password}@{DATA_HUB}:5432{parts.path}"
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def relay(address: str, url: str) -> AsyncIterator[str]:
    """Let the hosts reach at ``address`` what listens on this machine; yields the URL there."""
    port = urlsplit(url).port

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pour(reader, back), _pour(there, writer))

    server = await asyncio.start_server(carry, address, 0)
    try:
        yield f"http://{address}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(_CHUNK_BYTES):
            into.write(chunk)
            await into.drain()
    except OSError:
        pass
    finally:
        into.close()
