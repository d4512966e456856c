"""A process killed in the middle of keeping blobs: what it acknowledged is there, whole."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.blob import open_blobs

pytestmark = pytest.mark.process

SOURCES = Path(__file__).parents[2] / "src"
KEEPER = """
import asyncio, os, sys
from headrace.blob import open_blobs

async def keep(blobs, spooled):
    while True:
        body = os.urandom(200_000)
        if spooled:
            async with blobs.spool("image/png") as spool:
                for start in range(0, len(body), 20_000):
                    await spool.write(body[start : start + 20_000])
                artifact = await spool.commit()
        else:
            artifact = await blobs.put(body, "image/png")
        os.write(1, artifact.sha256.hex().encode() + b"\\n")

async def main():
    blobs = await open_blobs(sys.argv[1])
    await asyncio.gather(*(keep(blobs, n % 2 == 0) for n in range(6)))

asyncio.run(main())
"""


def killed_keeper(root: Path, after_s: float, crash_at: str = "") -> list[bytes]:
    """Let a process keep blobs, kill it, and return what it acknowledged."""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "HEADRACE_CRASH_AT": crash_at}
    command = [sys.executable, "-c", KEEPER, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as keeper:
        assert keeper.stdout is not None
        said = b"" if crash_at else keeper.stdout.readline()
        if not crash_at:
            time.sleep(after_s)
            keeper.send_signal(signal.SIGKILL)
        said += keeper.stdout.read()
    assert keeper.returncode == -signal.SIGKILL
    whole_lines = said[: said.rfind(b"\n") + 1]
    return [bytes.fromhex(line.decode()) for line in whole_lines.split()]


async def audit(root: Path, acknowledged: list[bytes]) -> None:
    """Everything acknowledged is sound, everything visible has its hash, the rest is swept."""
    blobs = await open_blobs(str(root))
    for sha256 in acknowledged:
        assert await blobs.verify(sha256) == "sound"
    visible = [path for path in (root / "sha256").rglob("*") if path.is_file()]
    for path in visible:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert len(visible) >= len(acknowledged)
    blobs.sweep(3600, time.time())  # what was arriving, at once; with an hour, what was put
    assert not [p for p in root.rglob("*.held") if p.is_file()]
    blobs.sweep(0, time.time() + 1)
    strays = [p for p in root.rglob("*") if p.is_file() and p not in visible]
    assert strays == []
    await blobs.close()


async def test_kill_at_random(tmp_path: Path) -> None:
    """Killed at random moments, again and again on the same store: nothing acknowledged is lost."""
    acknowledged: list[bytes] = []
    for _ in range(5):
        acknowledged += killed_keeper(tmp_path / "blobs", random.uniform(0.01, 0.3))
        await audit(tmp_path / "blobs", acknowledged)
    assert len(acknowledged) >= 5


@pytest.mark.parametrize("passage", [1, 4, 11])
async def test_kill_before_the_rename(tmp_path: Path, passage: int) -> None:
    """Killed between the bytes and the name: the blob is not there, and its file is swept."""
    acknowledged = killed_keeper(tmp_path / "blobs", 0, f"blob-before-rename:{passage}")
    assert len(acknowledged) <= passage
    await audit(tmp_path / "blobs", acknowledged)
