"""Prism as a referee: a proxy that holds every request and answer against an official schema."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from headrace.providers.remote.http_calls import HttpCalls, Take

HERE = Path(__file__).parent
CLI = HERE / "node_modules/@stoplight/prism-cli/dist/index.js"
SCHEMAS = HERE.parent / "data/openapi"
START_S = 120.0


class Exchange(NamedTuple):
    """One request and its answer: ``violations`` are what breaks the schema, each as text."""

    method: str
    path: str
    status: int
    violations: tuple[str, ...]


def need_prism() -> str:
    """Return where node is; skips the test where the referee cannot play."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("npm is not here")
    if not CLI.exists():
        pytest.skip("run 'make referees'")
    return node


@asynccontextmanager
async def prism(schema: str, upstream: str) -> AsyncIterator[str]:
    """Stand a proxy in front of ``upstream`` while the block runs; gives its address."""
    node, port = need_prism(), _free_port()
    process = await asyncio.create_subprocess_exec(
        node, str(CLI), "proxy", str(SCHEMAS / f"{schema}.json"), upstream,
        "--host", "127.0.0.1", "--port", str(port),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(START_S):
            while b"is listening" not in said:
                said = await process.stdout.readline()
                assert said, "prism ended before it listened"
        # What it says later is read, so that it never waits for a reader.
        draining = asyncio.create_task(process.stdout.read())
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await draining


def judged(calls: HttpCalls, monkeypatch: pytest.MonkeyPatch) -> list[Exchange]:
    """Return a list in which each exchange of ``calls`` will stand, with what Prism says of it."""
    exchanges: list[Exchange] = []

    def noting(take: Take[Any]) -> Take[Any]:
        async def noted(response: aiohttp.ClientResponse) -> Any:
            told = json.loads(response.headers.get("sl-violations", "[]"))
            violations = tuple(
                f"{'.'.join(one.get('location', []))}: {one['message']}" for one in told
            )
            one = Exchange(response.method, response.url.path, response.status, violations)
            exchanges.append(one)
            return await take(response)

        return noted

    get, post = calls.get, calls.post

    async def noted_get(
        url: Any, deadline_s: float, take: Take[Any], *more: Any, **named: Any
    ) -> Any:
        return await get(url, deadline_s, noting(take), *more, **named)

    async def noted_post(
        url: Any, body: Any, deadline_s: float, take: Take[Any], *more: Any, **named: Any
    ) -> Any:
        return await post(url, body, deadline_s, noting(take), *more, **named)

    monkeypatch.setattr(calls, "get", noted_get)
    monkeypatch.setattr(calls, "post", noted_post)
    return exchanges


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
