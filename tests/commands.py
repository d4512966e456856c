"""``headrace`` as users start it: commands in a folder, to their end or while they run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[1]
HEADRACE = (sys.executable, "-m", "headrace")
START_S = 90


def environment_in(folder: Path, **more: str) -> dict[str, str]:
    """The variables of a user at home in that folder, and none of ours."""
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    return {**path, "HOME": str(folder), **more}


class Folder:
    """A folder in which commands are run one after another, on one database."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self._environment = environment_in(folder, HEADRACE_DATABASE_URL=database_url)

    async def ran(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``headrace`` with ``words``; a traceback is never the answer."""
        done = await asyncio.to_thread(
            subprocess.run,
            [*HEADRACE, *words],
            cwd=self.folder,
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done


async def begun(folder: Path, words: tuple[str, ...], **more: str) -> tuple[Process, Any]:
    """A command that runs, under ``more`` variables, and what it said first, in JSON."""
    process = await asyncio.create_subprocess_exec(
        *HEADRACE, *words, "--json",
        cwd=folder, env=environment_in(folder, **more), stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), START_S)
    return process, json.loads(line or "{}")


async def ended(process: Process) -> str:
    """Ask a command to end, which it does cleanly; returns what it complained of."""
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), START_S)
    assert process.returncode == 0, err
    return err.decode()


class Piped(NamedTuple):
    """A command whose input and output are pipes."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]


@contextmanager
def piped(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Piped]:
    """A command that runs in a folder between pipes; at the end it is waited for."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        yield Piped(process, process.stdin, process.stdout, process.stderr)
