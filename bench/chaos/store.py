"""An object store that fails: a foreign S3 server behind a proxy that refuses, and stalls."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

SERVER = Path(__file__).parents[2] / ".venv-referees" / "bin" / "moto_server"
BUCKET = "chaos"
START_S_MAX = 60.0
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "date"})


class FlakyStore:
    """Passes requests on; ``failing``, a ``share`` of them gets 503; all wait while it stalls."""

    def __init__(self, backend: str, dice: random.Random, share: float = 0.2) -> None:
        self._backend, self._dice, self._share = backend, dice, share
        self._runs = asyncio.Event()
        self._runs.set()
        self.failing = False
        self.seen: Counter[str] = Counter()
        self.url = ""

    async def stall(self, seconds: float) -> None:
        """Answer nothing for a while."""
        self._runs.clear()
        self.seen["stalls"] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._runs.set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen on this machine while the block runs."""
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            self._session = session
            application = web.Application(client_max_size=1 << 30)
            application.router.add_route("*", "/{path:.*}", self._pass)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", port := free_port())
            await site.start()
            self.url = f"http://127.0.0.1:{port}"
            try:
                yield
            finally:
                await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        await self._runs.wait()
        self.seen["requests"] += 1
        if self.failing and self._dice.random() < self._share:
            self.seen["refused"] += 1
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")
        headers = {name: value for name, value in request.headers.items() if name != "Expect"}
        async with self._session.request(
            request.method, self._backend + request.raw_path, data=body, headers=headers
        ) as answer:
            told = await answer.read()
            kept = {n: v for n, v in answer.headers.items() if n.lower() not in _HOP}
            if request.method == "HEAD":
                # How long the body would be is what is asked.
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
                return web.Response(status=answer.status, headers=kept)
            return web.Response(status=answer.status, body=told, headers=kept)


@contextlib.asynccontextmanager
async def s3(dice: random.Random) -> AsyncIterator[FlakyStore]:
    """Run the S3 server and the proxy before it while the block runs."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(SERVER),
        *("-H", "127.0.0.1", "-p", str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        backend = f"http://127.0.0.1:{port}"
        await _made(f"{backend}/{BUCKET}")
        store = FlakyStore(backend, dice)
        async with store.serve():
            yield store
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _made(bucket_url: str) -> None:
    """Make the bucket as soon as the server listens; raises ``TimeoutError``."""
    async with asyncio.timeout(START_S_MAX), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.put(bucket_url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.2)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
