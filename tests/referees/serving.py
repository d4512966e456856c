"""Starts a foreign program for a test and ends it: on this machine only, and for no longer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE_BIN = HERE / "node_modules" / ".bin"
PYTHON_BIN = HERE.parents[1] / ".venv-referees" / "bin"
START_S = 90


def program(name: str) -> Path:
    """The program, or a visible skip where it is not installed."""
    folder = PYTHON_BIN if name == "llmock" else NODE_BIN
    found = folder / name
    if not found.exists() or (folder is NODE_BIN and shutil.which("node") is None):
        pytest.skip(f"the referee {name} is not installed: make referees")
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str | Path], port: int, log: Path) -> Iterator[str]:
    """Run a server while the block runs; gives its address once it answers HTTP."""
    base = f"http://127.0.0.1:{port}"
    env = {"PATH": os.environ["PATH"], "HOME": str(log.parent), "NO_COLOR": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=out, stderr=out, env=env, cwd=log.parent
        )
        try:
            for _ in range(START_S * 10):
                if _answers(base):
                    break
                try:
                    process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail(f"the referee ended: {log.read_text(errors='replace')[-2000:]}")
            else:
                pytest.fail(
                    f"the referee does not answer: {log.read_text(errors='replace')[-2000:]}"
                )
            yield base
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _answers(base: str) -> bool:
    try:
        with urllib.request.urlopen(base, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
