"""The commands of ``bench.scale`` run from beginning to end, with few items."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0


def said(*words: str) -> str:
    """Run a part and return what it printed."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.scale", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


@pytest.mark.timeout(LIMIT_S + 60)
def test_workers_are_measured_and_what_an_item_costs_is_told() -> None:
    """Two workers finish a small batch, and each table's part of an item is printed."""
    told = said("workers", "--workers", "2", "--items", "200", "--narrow", "--idle-s", "1")
    assert "| 2 | 512 | 200 |" in told
    assert "| cache_entry |" in told
    assert "an idle worker:" in told


@pytest.mark.timeout(LIMIT_S + 60)
def test_a_large_batch_runs_beside_calls_of_the_api() -> None:
    """A small "million" ends, each item once, and every kind of call was answered."""
    told = said("million", "--items", "300", "--workers", "1")
    assert "| 300 |" in told
    assert all(f"{kind}: " in told for kind in ("batch", "window", "failed", "on demand"))
    assert told.count(" 0 bad") == 4
    assert "| serve |" in told


@pytest.mark.timeout(LIMIT_S + 60)
def test_a_lane_is_shared_by_workers_and_judged_by_the_provider() -> None:
    """Two workers share a lane, and its use, refusals and fairness are printed."""
    told = said("lane", "--workers", "2", "--per-minute", "600", "--seconds", "20")
    assert "utilisation after" in told
    assert "index of fairness" in told
