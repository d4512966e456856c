"""An object store for tests: moto's S3 as a process, behind a proxy that can be made to fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]
BUCKET = "pictures"
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}
_HEAD = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SAYS = {"503": b"503 Slow Down", "403": b"403 Forbidden"}


def moto_server() -> str:
    """The command of moto's server; a test without it is skipped."""
    found = shutil.which("moto_server", path=ROOT / ".venv-referees" / "bin")
    found = found or shutil.which("moto_server")
    if found is None:
        pytest.skip("no moto_server: 'make referees' installs it")
    return found


@asynccontextmanager
async def running_moto() -> AsyncIterator[str]:
    """Run moto on a free port with an empty bucket; gives its address."""
    command = moto_server()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [command, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(300):
                with suppress(aiohttp.ClientError):
                    async with session.put(f"{url}/{BUCKET}") as response:
                        assert response.status == 200
                        break
                await asyncio.sleep(0.2)
            else:
                pytest.fail("moto did not start")
        yield url
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(240)


class Proxy:
    """Passes connections on to a port; in other modes it refuses, stalls, or answers 503 or 403."""

    def __init__(self, target: str) -> None:
        self._target = int(target.rsplit(":", 1)[1])
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.mode = "pass"
        self.accepted = 0

    async def start(self) -> str:
        """Listen on a free port; returns the address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def turn(self, mode: str) -> None:
        """Change the mode; connections of the mode before are cut."""
        self.mode = mode
        for writer in list(self._open):
            writer.transport.abort()

    async def close(self) -> None:
        """Stop, and cut what is open."""
        assert self._server is not None
        self._server.close()
        self.turn("refuse")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._open.add(writer)
        try:
            if self.mode == "refuse":
                writer.transport.abort()
            elif self.mode == "stall":
                await reader.read()
            elif self.mode in _SAYS:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_HEAD % _SAYS[self.mode])
                await writer.drain()
            else:
                await self._pass(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._open.add(forth)
        try:
            await asyncio.wait(
                {
                    asyncio.ensure_future(_copy(reader, forth)),
                    asyncio.ensure_future(_copy(back, writer)),
                }
            )
        finally:
            self._open.discard(forth)
            forth.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(65_536):
            target.write(piece)
            await target.drain()
    target.close()
