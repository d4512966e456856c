"""Where the measurements happen: a PostgreSQL of its own, and workers as processes beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.peak import peak_mib
from bench.setting import fresh_database
from headrace.store.embedded import open_embedded

START_S_MAX, LEAVE_S_MAX = 300.0, 120.0
KEY = "scale"


@dataclass
class Usage:
    """What a process has used so far: CPU seconds, and its peak of memory in MiB."""

    cpu_s: float
    peak_mib: float


class Place:
    """A server with one empty database, and a folder that all processes share."""

    def __init__(self, folder: Path, url: str, postmaster_pid: int) -> None:
        self.folder, self.url = folder, url
        self.config = folder / "headrace.toml"
        self._postmaster = psutil.Process(postmaster_pid)
        self.children: list[Child] = []

    def write(self, lines: list[str]) -> None:
        """Write the settings of all processes."""
        head = [f'home = "{self.folder / "home"}"', f'blob_url = "{self.folder / "blobs"}"']
        self.config.write_text("\n".join(head + lines) + "\n", encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that works here."""
        kept = {name: value for name, value in os.environ.items() if name[:9] != "HEADRACE_"}
        return kept | {"HEADRACE_DATABASE_URL": self.url}

    def database_cpu_s(self) -> float:
        """Return the CPU of the server's processes, of those that have ended too."""
        times = self._postmaster.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in self._postmaster.children():
            with contextlib.suppress(psutil.Error):
                spent = child.cpu_times()
                total += spent.user + spent.system
        return float(total)

    def database_mib(self) -> float:
        """Return the memory of the server's processes now, shared pages counted once."""
        total = 0.0
        for one in [self._postmaster, *self._postmaster.children()]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss / 2**20
        return total

    async def start(self, *words: str, say: str) -> Child:
        """Start a command of headrace and wait for its first line of JSON."""
        log = (self.folder / f"{say}.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace", *words, "--json", "--config", str(self.config)),
            stdout=subprocess.PIPE, stderr=log, env=self.environment, cwd=self.folder,
        )  # fmt: skip
        log.close()
        child = Child(say, process)
        self.children.append(child)
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_S_MAX)
        if not line:
            said = (self.folder / f"{say}.log").read_text(errors="replace")
            raise RuntimeError(f"{say} did not start: {said[-2000:]}")
        child.told = json.loads(line)
        return child

    async def workers(self, count: int) -> list[Child]:
        """Start so many workers together."""
        names = [f"worker {number}" for number in range(1, count + 1)]
        return list(await asyncio.gather(*(self.start("worker", say=name) for name in names)))

    async def close(self) -> None:
        """End every process that was started here."""
        children, self.children = self.children, []
        await asyncio.gather(*(child.end() for child in children))


class Child:
    """A process of headrace; ``told`` is what it said when it was up."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name, self._process = name, process
        self.told: dict[str, Any] = {}

    def usage(self) -> Usage:
        """Return what it has used so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return Usage(times.user + times.system, peak_mib(self._process.pid))

    async def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), LEAVE_S_MAX)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Place]:
    """Start a server with an empty database; everything is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # As root the server runs as another user, who must be able to pass through.
        folder.chmod(0o711)
        server = await open_embedded(folder)
        try:
            url, _ = await fresh_database(server.url)
            pid = int((server.data / "postmaster.pid").read_text().splitlines()[0])
            place = Place(folder, url, pid)
            try:
                yield place
            finally:
                await place.close()
        finally:
            await server.close()
