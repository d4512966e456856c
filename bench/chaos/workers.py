"""Workers as processes: started, killed -9, frozen past their lease, and let go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

LEAVE_S_MAX = 60.0
NO_DATABASE, BEGUN = 6, "works on"
"""How a process ends that finds no database, and what a worker says once it has one."""


class Crew:
    """``size`` workers on one database; a new one takes the place of each that is killed."""

    def __init__(self, folder: Path, config: Path, environment: dict[str, str], size: int) -> None:
        self._folder, self._config, self._environment = folder, config, environment
        self._size, self._started = size, 0
        self._all: dict[int, asyncio.subprocess.Process] = {}
        self.frozen: set[int] = set()
        self.kills = self.not_begun = 0
        #: What those said last that ended by themselves after they had begun to work.
        self.died: list[str] = []

    async def start(self) -> None:
        """Start all of them."""
        for _ in range(self._size):
            await self._one()

    async def _one(self) -> int:
        number = self._started
        self._started += 1
        with self.log(number).open("wb") as log:
            self._all[number] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "headrace", "worker", "--config", str(self._config)),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment,
            )
        return number

    def log(self, number: int) -> Path:
        """Return what a worker has said."""
        return self._folder / f"worker-{number}.log"

    @property
    def free(self) -> list[int]:
        """The workers that run and are not frozen."""
        return [
            number
            for number, process in self._all.items()
            if process.returncode is None and number not in self.frozen
        ]

    async def kill(self, number: int) -> None:
        """End a worker as a power cut would, and start another."""
        self._all[number].kill()
        await self._all[number].wait()
        self.kills += 1
        await self._one()

    async def replace_dead(self) -> None:
        """Start a worker for each that ended by itself, as a supervisor would.

        One that starts while the database is away ends with 6: that is the supervisor's.
        """
        for number, process in list(self._all.items()):
            if process.returncode is not None:
                del self._all[number]
                if process.returncode != -signal.SIGKILL:
                    said = self.log(number).read_text(errors="replace")
                    if process.returncode == NO_DATABASE and BEGUN not in said:
                        self.not_begun += 1
                    else:
                        self.died.append(f"{process.returncode}: {said[-600:]}")
                    await self._one()

    async def freeze(self, number: int, seconds: float) -> None:
        """Stop a worker for a while in the middle of whatever it does."""
        self.frozen.add(number)
        self._all[number].send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._all[number].send_signal(signal.SIGCONT)
            self.frozen.discard(number)

    async def lanes(self) -> None:
        """Print what the lanes are doing now."""
        command = (sys.executable, "-m", "headrace", "lanes", "--config", str(self._config))
        told = await asyncio.create_subprocess_exec(*command, env=os.environ | self._environment)
        await told.wait()

    async def close(self) -> list[int]:
        """Ask all to end, and kill who does not; returns the exit statuses."""
        statuses = []
        for process in self._all.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._all.values():
            statuses.append(await left(process))
        return statuses


async def left(process: asyncio.subprocess.Process) -> int:
    """Wait for the end of a worker that was asked to end, and kill it if it does not."""
    try:
        async with asyncio.timeout(LEAVE_S_MAX):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()
