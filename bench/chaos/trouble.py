"""The trouble: the database restarts, workers die and freeze, the store stalls, side by side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos.store import FlakyStore
from bench.chaos.workers import Crew

FROZEN_S = 40.0
"""Longer than a worker may be silent before others take what it holds."""
STALL_S = 30.0
HEALING_LOOKS = 600


@dataclass
class Seen:
    """What happened, and what was found afterwards."""

    restarts: int = 0
    thaws: int = 0
    findings: list[str] = field(default_factory=list)

    def verdict(self) -> int:
        """Print which promises broke, the first of them; returns the exit status."""
        for finding in self.findings[:20]:
            print("BROKEN", finding)
        print("broken" if self.findings else "nothing broke")
        return 1 if self.findings else 0


class Troubles:
    """What is done to a crew, its database and its store, at moments drawn from ``dice``."""

    def __init__(
        self, dice: random.Random, crew: Crew, server: Any, store: FlakyStore | None, seen: Seen
    ) -> None:
        self._dice, self._crew, self._server = dice, crew, server
        self._store, self._seen = store, seen

    async def restart(self) -> None:
        """End the database, as a power cut or as an operator, and start it again."""
        pid = int(Path(self._server.data, "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, self._dice.choice((signal.SIGQUIT, signal.SIGINT)))
        self._seen.restarts += 1
        for _ in range(HEALING_LOOKS):
            await asyncio.sleep(0.1)
            if await self._server.heal():
                return

    async def freeze(self) -> None:
        """Stop a worker past its lease, and let it go on."""
        if self._crew.free:
            await self._crew.freeze(self._dice.choice(self._crew.free), FROZEN_S)
            self._seen.thaws += 1

    async def kill(self) -> None:
        """Kill a worker."""
        if self._crew.free:
            await self._crew.kill(self._dice.choice(self._crew.free))

    async def stall(self) -> None:
        """Let the store answer nothing for a while."""
        if self._store is not None:
            await self._store.stall(STALL_S)

    def begin(self) -> list[asyncio.Task[None]]:
        """Do all of it, side by side."""
        if self._store is not None:
            self._store.failing = True
        plan = (
            (5, 20, self.restart),
            (6, 18, self.kill),
            (10, 15, self.freeze),
            (20, 40, self.stall),
        )
        return [asyncio.create_task(self._again(*one)) for one in plan]

    async def _again(
        self, least_s: float, most_s: float, do: Callable[[], Awaitable[None]]
    ) -> None:
        while True:
            await asyncio.sleep(self._dice.uniform(least_s, most_s))
            await do()


@contextlib.asynccontextmanager
async def trouble(
    dice: random.Random, crew: Crew, server: Any, store: FlakyStore | None, seen: Seen
) -> AsyncIterator[None]:
    """Let everything fail while the block runs."""
    tasks = Troubles(dice, crew, server, store, seen).begin()
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                seen.findings.append(f"the trouble-maker broke: {ended!r}")
        if store is not None:
            store.failing = False
        await server.heal()
