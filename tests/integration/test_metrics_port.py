"""Metrics of processes: a worker's port and a server's, from the first scrape to a clean end."""

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

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]


async def started(folder: Path, database_url: str, *words: str) -> tuple[Any, dict[str, Any]]:
    """Start a command and return the process with what it said first."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": str(folder),
        "HEADRACE_DATABASE_URL": database_url, "HEADRACE_LOG__FORMAT": "json",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace", *words, "--json",
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 90)
    return process, json.loads(line or "{}")


async def ended(process: Any) -> str:
    """Ask the process to end; it does so cleanly. Return what it logged."""
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err
    return str(err.decode())


async def scraped(url: str) -> str:
    """What a port tells."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_a_worker_tells_of_itself_and_of_the_database_when_asked_to(
    tmp_path: Path, database_url: str
) -> None:
    """``--metrics-port`` serves the process's counts, ``--metrics-database`` the others as well."""
    own, told = await started(tmp_path, database_url, "worker", "--metrics-port", "0")
    words = ("worker", "--metrics-port", "0", "--metrics-database")
    both, more = await started(tmp_path, database_url, *words)
    text = await scraped(told["metrics"])
    assert "headrace_fence_refusals_total 0.0" in text
    assert "process_resident_memory_bytes" in text
    assert "headrace_database_up" not in text
    text = await scraped(more["metrics"])
    assert "headrace_database_up 1.0" in text
    assert "headrace_workers 2.0" in text
    for process in (own, both):
        for line in (await ended(process)).splitlines():
            assert json.loads(line)["level"]


async def test_a_server_has_a_port_without_a_key_beside_its_own(
    tmp_path: Path, database_url: str
) -> None:
    """The port of metrics asks for none, the server's own does; a taken one is told with remedy."""
    words = ("serve", "--port", "0", "--metrics-port", "0", "--no-worker")
    server, told = await started(tmp_path, database_url, *words)
    assert "headrace_database_up 1.0" in await scraped(told["metrics"])
    async with aiohttp.ClientSession() as http, http.get(f"{told['url']}/metrics") as answer:
        assert answer.status == 401
    port = told["metrics"].rpartition(":")[2].partition("/")[0]
    second, error = await started(tmp_path, database_url, "worker", "--metrics-port", port)
    assert error["error"]["place"] == "--metrics-port"
    assert "--metrics-port" in error["error"]["remedy"]
    assert await second.wait() == 5
    await ended(server)
