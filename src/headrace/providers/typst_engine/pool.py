"""A small pool of render workers of which any one can be killed without harm to the others.

Why our own: ``concurrent.futures`` marks the whole pool broken when one worker dies and
cannot end a single job; ``pebble`` can, but is LGPL, starts a manager thread per pool and
forks or re-imports the caller's main module. Ours are plain child processes with two
pipes: they import only the renderer, get a bare environment without keys, and their
answers are MessagePack, never pickles.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import msgspec

from headrace.providers.local.bare_environment import bare_environment
from headrace.providers.typst_engine.message import (
    HEAD,
    MEMORY_EXIT,
    MESSAGE_BYTES_MAX,
    Answer,
    Setup,
    pack,
)

START_LIMIT_S = 60.0
_EXIT_LIMIT_S = 2.0
_PIPE_BYTES = 1024 * 1024


class WorkerLost(Exception):  # noqa: N818 - it says what happened, the renderer makes the error
    """A worker ended without an answer: ``reason`` is ``time``, ``memory`` or ``crash``."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Worker:
    """One child process and the pipes to it."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.done = 0
        self.rss_bytes = 0
        self.alive = True

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    async def exchange(self, message: bytes, timeout_s: float) -> Answer:
        """Send one message and return the answer; raises ``WorkerLost`` and is then dead."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchange(message)
        except TimeoutError:
            await self.kill()
            raise WorkerLost("time") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._ended()
            raise self._loss() from None
        except asyncio.CancelledError:
            await asyncio.shield(self.kill())
            raise
        self.done += 1
        self.rss_bytes = answer.rss_bytes
        return answer

    async def _exchange(self, message: bytes) -> Answer:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ConnectionError("the worker has no pipes")
        stdin.write(message)
        await stdin.drain()
        (length,) = HEAD.unpack(await stdout.readexactly(HEAD.size))
        if length > MESSAGE_BYTES_MAX:
            raise ConnectionError("the worker's answer is too large")
        return msgspec.msgpack.decode(await stdout.readexactly(length), type=Answer)

    async def kill(self) -> None:
        """End the process at once and wait until it is gone."""
        self.alive = False
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            self._process.kill()
        await self._process.wait()

    async def _ended(self) -> None:
        """Wait for a process whose pipe closed; a kill now could lose its exit code."""
        self.alive = False
        try:
            async with asyncio.timeout(_EXIT_LIMIT_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    def _loss(self) -> WorkerLost:
        try:
            said = self._log.read_bytes()[-2000:].decode(errors="replace").strip()
        except OSError:
            said = ""
        if self._process.returncode == MEMORY_EXIT or "memory allocation of" in said:
            return WorkerLost("memory", said)
        return WorkerLost("crash", said or f"exit code {self._process.returncode}")


class WorkerPool:
    """Up to ``size`` workers, started when first needed and replaced after ``renders_max``."""

    def __init__(
        self,
        root: Path,
        font_folders: tuple[str, ...],
        *,
        size: int,
        memory_limit_bytes: int,
        renders_max: int = 2000,
    ) -> None:
        self._root = root
        self._font_folders = font_folders
        self._memory_limit_bytes = memory_limit_bytes
        self._renders_max = renders_max
        self._permits = asyncio.Semaphore(size)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._started = 0
        self._closed = False
        self.size = size

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the living workers."""
        return sorted(worker.pid for worker in self._all if worker.alive)

    async def exchange(self, message: bytes, timeout_s: float) -> Answer:
        """Give one order to a free worker; raises ``WorkerLost``.

        The time limit starts when the worker gets it, not while it waits for its turn.
        """
        async with self._permits:
            self._refuse_when_closed()
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                return await worker.exchange(message, timeout_s)
            finally:
                await self._put_back(worker)

    async def warm(self) -> None:
        """Start all workers now, so that the first orders do not wait; raises ``WorkerLost``."""
        missing = self.size - len(self._all)
        self._idle.extend(await asyncio.gather(*(self._start() for _ in range(missing))))

    async def close(self) -> None:
        """End all workers; orders that are under way raise ``WorkerLost``."""
        self._closed = True
        workers, self._all = self._all, set()
        self._idle.clear()
        await asyncio.gather(*(worker.kill() for worker in workers))

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise WorkerLost("closed")

    async def _put_back(self, worker: Worker) -> None:
        hungry = worker.rss_bytes > self._memory_limit_bytes * 0.75
        if worker not in self._all:
            return  # closed meanwhile
        if worker.alive and not hungry and worker.done < self._renders_max:
            self._idle.append(worker)
            return
        self._all.discard(worker)
        if worker.alive:
            await worker.kill()

    async def _start(self) -> Worker:
        self._started += 1
        number = self._started
        log = self._root / f"worker-{number}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "headrace.providers.typst_engine.worker",
                stdin=PIPE,
                stdout=PIPE,
                stderr=file,
                env=bare_environment(),
                limit=_PIPE_BYTES,
            )
        worker = Worker(process, log)
        if self._closed:
            await worker.kill()
            raise WorkerLost("closed")
        self._all.add(worker)
        setup = Setup(
            root=str(self._root),
            photo_folder=f"p/{os.urandom(16).hex()}",
            font_folders=self._font_folders,
            memory_limit_bytes=self._memory_limit_bytes,
            parent_pid=os.getpid(),
        )
        try:
            await worker.exchange(pack(setup), START_LIMIT_S)
        except BaseException:  # broad: cancelled or lost, the worker must not stay counted
            self._all.discard(worker)
            raise
        worker.done = 0
        return worker
