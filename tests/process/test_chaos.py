"""Everything fails at once for two minutes, in the short form of ``make chaos``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
"""Longer than the trouble and twice the time to settle: it ends by itself, and ends its workers."""


@pytest.mark.process
@pytest.mark.timeout(LIMIT_S + 60)
def test_chaos_loses_nothing_and_buys_nothing_twice_that_is_not_counted() -> None:
    """Workers die and freeze, the database restarts, store and provider fail: the books hold."""
    command = [sys.executable, "-m", "bench.chaos", "--minutes", "2", "--per-s", "6"]
    run = subprocess.run(
        [*command, "--settle-s", "180"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert "lost 0, not ended 0" in run.stdout
    assert "nothing broke" in run.stdout
