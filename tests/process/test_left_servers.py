"""Servers of tests end with the tests, however those end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.process.scratch import inside
from tests.process.terminal import ROOT, environment_in

pytestmark = pytest.mark.process
TEST = """
import os
import signal
from pathlib import Path

from tests.integration.conftest import scratch, server


def test_it(server, scratch):
    Path(os.environ["TOLD"]).write_text(str(scratch))
    ENDS
"""
BREAKS = """
def pytest_runtest_logreport(report):
    if report.when == "call":
        raise RuntimeError("the runner itself breaks")
"""
ENDINGS = {
    "passes": ("pass", 0),
    "stops at the first failure": ("assert False", 1),
    "breaks": ("pass", 3),
    "is asked to end": ("os.kill(os.getpid(), signal.SIGTERM)", -15),
    # What was begun in the background of a shell ignores the signal, and so do its children.
    "is interrupted": (
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "os.kill(os.getpid(), signal.SIGINT)",
        2,
    ),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", -9),
}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="nobody tells where a process works")
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_server_is_left_by_a_run_that(ending: str, tmp_path: Path) -> None:
    """Its PostgreSQL ends, and its folder goes."""
    line, code = ENDINGS[ending]
    (tmp_path / "test_one.py").write_text(TEST.replace("ENDS", line))
    if ending == "breaks":
        (tmp_path / "conftest.py").write_text(BREAKS)
    told = tmp_path / "told"
    environment = environment_in(tmp_path, TOLD=str(told))
    environment["PYTHONPATH"] += f":{ROOT}"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
         "--rootdir", str(tmp_path), str(tmp_path / "test_one.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == code, run.stdout + run.stderr
    folder = Path(told.read_text())
    until = time.monotonic() + 40
    while (folder.exists() or inside(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not folder.exists()
    assert inside(folder) == []
