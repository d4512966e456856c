"""``headrace serve`` as a process: the key of the first start, a batch over HTTP, a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
ROWS = [{"title": f"Tea {number}", "price": "4.20"} for number in range(6)]


async def start(folder: Path, database_url: str, *words: str) -> Any:
    """Start the server and return the process with what it said."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": str(folder),
        "HEADRACE_DATABASE_URL": database_url,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace", "serve", "--port", "0", "--json", *words,
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    return process, json.loads(line)


async def end(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Ask the process to end, and return its exit code and what it complained of."""
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, err.decode()


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
    code, err = await end(process)
    assert code == 0, err
    assert key not in err
    again, told = await start(tmp_path, database_url, "--no-worker")
    assert told["admin_key"] is None
    assert told["worker"] is None
    async with aiohttp.ClientSession(told["url"], headers=headers) as http:
        async with http.get(f"/api/batches/{batch['id']}") as answer:
            assert (await answer.json())["done"] == len(ROWS)
        async with http.post("/v1/chat/completions", json={}) as answer:
            assert answer.status == 400
    assert (await end(again))[0] == 0


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
    assert (await end(first))[0] == 0
