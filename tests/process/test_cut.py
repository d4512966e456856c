"""A network that is cut tells nobody: both sides notice, let go, and are back with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cut.hosts import apart, hindrance
from headrace.store.reachable import OURS_S_MAX, SERVER_S_MAX

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
LIMIT_S = 600
BUSY = 2.0
"""Twice the bound: the machine may be busy. The system's own bounds are minutes and hours."""
BACK_S_MAX = 10.0

WHY = hindrance()
needs_hosts = pytest.mark.skipif(WHY is not None, reason=f"no hosts can be made here: {WHY}")


@needs_hosts
def test_both_sides_let_go_of_a_session_that_is_cut_off(scratch: Path) -> None:
    """Waiting, listening or in a transaction: a cut session ends, and so do the locks it held."""
    folder = scratch / "cut"
    folder.mkdir(mode=0o711)
    run = subprocess.run(
        [*apart(), sys.executable, "-m", "tests.process.cut_child", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert found.pop("back") < BACK_S_MAX
    locks = [found.pop("session lock"), found.pop("transaction lock")]
    assert max(locks) < BUSY * SERVER_S_MAX, locks
    assert set(found) == {"waiting", "listening", "pool"}
    assert max(found.values()) < BUSY * OURS_S_MAX, found


@needs_hosts
@pytest.mark.timeout(LIMIT_S + 60)
def test_a_host_that_is_cut_off_loses_nothing_and_comes_back() -> None:
    """Another host goes on with its work; it is back without a restart, and the books hold."""
    command = [sys.executable, "-m", "bench.cut", "--short", "--cut-s", "25", "--per-s", "3"]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert "lost 0, not ended 0" in run.stdout
    assert "nothing broke" in run.stdout
