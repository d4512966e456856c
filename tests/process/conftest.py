"""Owners of an embedded server as processes of their own, so that they can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.scratch import scratch_folder

CRASHES_S = 900
"""A sweep over all crash points is one test, minutes long where the machine is slow."""
SOURCES = Path(__file__).parents[2] / "src"
OWNER = """
import asyncio, json, sys
from pathlib import Path
from headrace.store.embedded import open_embedded

async def main():
    home, system = map(Path, sys.argv[1:3])
    server = await open_embedded(home, system_place=system)
    watch = asyncio.create_task(server.watch()) if "watch" in sys.argv else None
    answer = {"url": server.url, "data": str(server.data), "note": server.note}
    print(json.dumps(answer), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if watch:
        watch.cancel()
    await server.close()

try:
    asyncio.run(main())
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
"""


class Owner:
    """A process that holds a share in a home's server until told to close it."""

    def __init__(self, home: Path, system: Path, *words: str, uid: int | None = None) -> None:
        libraries = [path for path in sys.path if path.endswith("site-packages")]
        python = sys.executable if uid is None else python_of_everybody()
        self.process = subprocess.Popen(
            [python, "-c", OWNER, str(home), str(system), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={
                "PYTHONPATH": os.pathsep.join([str(SOURCES), *libraries]),
                "PATH": os.environ["PATH"],
            },
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )

    def answer(self) -> dict[str, str]:
        """What the process says once it is open, or why it is not."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """Let it close its share and end."""
        self.process.communicate("\n", timeout=240)

    def kill(self) -> None:
        """Kill it without a chance to clean up."""
        self.process.kill()
        self.process.communicate(timeout=240)


def python_of_everybody() -> str:
    """An interpreter of this version that other users can start."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{minor}", f"/usr/local/bin/python{minor}"):
        try:
            subprocess.run(
                [python, "-c", ""], user=65534, group=65534, extra_groups=[], check=True, cwd="/"
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip(f"no Python {minor} that a plain user may start")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that the server's uid can enter when the tests run as root, unlike tmp_path."""
    with scratch_folder() as folder:
        yield folder


@pytest.fixture
def owner(scratch: Path) -> Iterator[Callable[..., Owner]]:
    """Start owners; at the end each home is opened and closed once more, which stops it."""
    owners: list[tuple[Owner, Path]] = []

    def start(home: Path, *words: str, uid: int | None = None) -> Owner:
        owners.append((Owner(home, scratch / "system", *words, uid=uid), home))
        return owners[-1][0]

    yield start
    for process, home in owners:
        if process.process.poll() is None:
            process.kill()
        uid = home.stat().st_uid if os.geteuid() == 0 and home.exists() else None
        last = Owner(home, scratch / "system", uid=uid or None)
        last.answer()
        last.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that run whole processes more time than others before they are ended."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(CRASHES_S))
