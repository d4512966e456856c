"""The simulator as a process of its own: started, set, asked for its truth, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from headrace.simulator.truth import Entry

ASK_S_MAX = 300.0
PRIORITY = -15
"""The simulators' nice value, where the machine lets us set it."""


class Simulation:
    """A running ``headrace simulate``; ``url`` is its address without a path."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url, self.process = url, process

    async def ask(self, path: str, **query: Any) -> Any:
        """Return the JSON of a control path; raises ``RuntimeError`` with what it said."""
        async with aiohttp.ClientSession() as session:
            timeout = aiohttp.ClientTimeout(total=ASK_S_MAX)
            address = f"{self.url}/_simulator/{path}"
            async with session.get(address, params=query, timeout=timeout) as answer:
                text = await answer.text()
        if answer.status != 200:
            raise RuntimeError(f"/{path}: {text}")
        return json.loads(text)

    async def log(self) -> list[Entry]:
        """Return every call in the order of their ends."""
        async with aiohttp.ClientSession() as session:
            timeout = aiohttp.ClientTimeout(total=ASK_S_MAX)
            async with session.get(f"{self.url}/_simulator/log", timeout=timeout) as answer:
                body = await answer.read()
        return [Entry(**json.loads(line)) for line in body.splitlines() if line]

    async def reset(self, tree: dict[str, Any]) -> None:
        """Begin anew with these settings; raises ``RuntimeError`` where they are wrong."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/_simulator/reset", json=tree) as answer,
        ):
            if answer.status != 200:
                raise RuntimeError(await answer.text())


@contextlib.asynccontextmanager
async def simulation(tree: dict[str, Any]) -> AsyncIterator[Simulation]:
    """Run a simulator with these settings while the block runs."""
    command = [sys.executable, "-m", "headrace", "simulate", "--port", "0", "--json", "--quiet"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with contextlib.suppress(OSError):
        # A provider has machines of its own: its times are not to depend on its clients.
        os.setpriority(os.PRIO_PROCESS, process.pid, PRIORITY)
    try:
        assert process.stdout is not None
        told = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        running = Simulation(told["url"], process)
        await running.reset(tree)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
