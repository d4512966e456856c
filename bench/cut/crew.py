"""A worker for each host, started once: who ends by itself has broken a promise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

from bench.chaos.workers import left
from bench.cut.hosts import Network


class Host:
    """A host with its worker."""

    def __init__(self, network: Network, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"worker-{name}.log"
        # Hosts have no disk in common.
        self._home = folder / f"home-{name}"
        self._network = network
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, config: Path, environment: dict[str, str]) -> None:
        """Start the worker."""
        words = (sys.executable, "-m", "headrace", "worker", "--config", str(config))
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._network.inside(self.name),
                *words,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | environment | {"HEADRACE_HOME": str(self._home)},
            )

    @property
    def pid(self) -> int:
        """The worker's process, which is the same from beginning to end."""
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the worker is gone."""
        return self._process is not None and self._process.returncode is not None

    @property
    def refused(self) -> int:
        """How many shards' late writes a fence has refused."""
        return self.log.read_text(errors="replace").count("fence lost")

    async def close(self) -> int:
        """Ask the worker to end, and kill it if it does not; returns its exit status."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        return await left(self._process)
