"""``headrace serve`` as a process: the key of the first start, a batch over HTTP, a clean end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.commands import ROOT, begun, ended

pytestmark = pytest.mark.process
ROWS = [{"title": f"Tea {number}", "price": "4.20"} for number in range(6)]


async def start(folder: Path, database_url: str, *words: str) -> Any:
    """Start the server and return the process with what it said."""
    serve = ("serve", "--port", "0", *words)
    return await begun(folder, serve, HEADRACE_DATABASE_URL=database_url)


async def test_a_server_makes_its_key_once_works_and_ends_cleanly(
    tmp_path: Path, database_url: str
) -> None:
    """The first start tells the admin key; with it a batch is made; SIGTERM ends with 0."""
    process, told = await start(tmp_path, database_url)
    key = told["admin_key"]
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(told["url"], headers=headers) as http:
        body = {"recipe": "product-card", "rows": ROWS}
        async with http.post("/api/batches", json=body) as answer:
            assert answer.status == 201
            batch = await answer.json()
        # The stream ends when the batch has.
        async with http.get(f"/api/batches/{batch['id']}/events") as answer:
            text = (await asyncio.wait_for(answer.read(), 120)).decode()
        assert text.count("event: item.succeeded") == len(ROWS)
        path = f"/api/batches/{batch['id']}/items/1/artifact"
        async with http.get(path) as answer:
            assert answer.content_type == "image/png"
            assert (await answer.read()).startswith(b"\x89PNG")
    assert key not in await ended(process)
    again, told = await start(tmp_path, database_url, "--no-worker")
    assert told["admin_key"] is None
    assert told["worker"] is None
    async with aiohttp.ClientSession(told["url"], headers=headers) as http:
        async with http.get(f"/api/batches/{batch['id']}") as answer:
            assert (await answer.json())["done"] == len(ROWS)
        async with http.post("/v1/chat/completions", json={}) as answer:
            assert answer.status == 400
    await ended(again)


async def test_a_taken_port_is_told_before_anything_is_opened(
    tmp_path: Path, database_url: str
) -> None:
    """The error names the port and the remedy, with the code for settings."""
    first, told = await start(tmp_path, database_url)
    port = told["url"].rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace", "serve", "--port", port,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 5
    assert b"is in use" in err
    await ended(first)
