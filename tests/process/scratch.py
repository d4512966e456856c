"""A folder for servers of tests, and a guard beside it: what runs there ends with the tests.

``python -m tests.process.scratch FOLDER`` is the guard. It reads a pipe that only the tests
hold open: however they end (an internal error, a signal, kill -9), the guard ends the servers
of the folder, and all that was started in it, and removes it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
STOP_S_MAX = 20.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Lend a folder that the server's uid can enter when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-test-"))
    folder.chmod(0o711)
    # In a session of its own: what a terminal sends to the tests is not for it.
    with subprocess.Popen(
        [sys.executable, "-m", "tests.process.scratch", str(folder)],
        cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True,
    ):  # fmt: skip
        yield folder
        shutil.rmtree(folder)


def clear(folder: Path) -> None:
    """End the servers of a folder and what else was started in it, and remove it."""
    for told in folder.rglob("postmaster.pid"):
        with suppress(OSError, ValueError, IndexError):
            pid, data = told.read_text().splitlines()[:2]
            if Path(data).is_relative_to(folder):
                os.kill(int(pid), signal.SIGQUIT)
    until = time.monotonic() + STOP_S_MAX
    while (left := inside(folder)) and time.monotonic() < until:
        time.sleep(0.1)
        for pid in left if time.monotonic() > until - STOP_S_MAX / 2 else ():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def inside(folder: Path) -> list[int]:
    """Return the processes that work in a folder, where the system tells."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if path.readlink().is_relative_to(folder):
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.stdin.read()
    if Path(sys.argv[1]).is_dir():
        clear(Path(sys.argv[1]))
