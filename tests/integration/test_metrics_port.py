"""Metrics of processes: a worker's port and a server's, from the first scrape to a clean end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.commands import begun, ended

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


async def started(folder: Path, database_url: str, *words: str) -> tuple[Any, dict[str, Any]]:
    """Start a command and return the process with what it said first."""
    log = {"HEADRACE_LOG__FORMAT": "json"}
    return await begun(folder, words, HEADRACE_DATABASE_URL=database_url, **log)


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
