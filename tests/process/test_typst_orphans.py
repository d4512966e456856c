"""Render workers must not outlive the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

OWNER = """
import asyncio, sys
from headrace.providers.typst_engine import Renderer, RenderJob
async def main():
    renderer = Renderer([sys.argv[1]] and [__import__("pathlib").Path(sys.argv[1])], workers=2)
    await renderer.warm()
    print(renderer._root, *renderer.worker_pids, flush=True)
    await renderer.render(RenderJob("busy", {}))
asyncio.run(main())
"""


@pytest.mark.process
def test_a_killed_owner_leaves_no_worker_and_no_folder(tmp_path: Path) -> None:
    """One worker is idle and one in the middle of a long render when the owner is killed."""
    (tmp_path / "busy.typ").write_text(
        "#range(99999).map(i => range(9999).map(j => i + j).sum()).sum()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert owner.stdout is not None
    root, *pids = owner.stdout.readline().split()
    time.sleep(0.5)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and any(psutil.pid_exists(int(pid)) for pid in pids):
        time.sleep(0.05)
    assert len(pids) == 2
    assert not [pid for pid in pids if psutil.pid_exists(int(pid))]
    assert not Path(root).exists()
