"""How long a person waits: ``headrace --help``, and a run of one row that is cached already."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def _seconds(args: list[str], home: Path) -> float:
    environment = os.environ | {"HEADRACE_HOME": str(home / ".headrace")}
    started_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *args],
        env=environment,
        cwd=home,
        capture_output=True,
        check=False,
    )
    took_s = time.perf_counter() - started_s
    if done.returncode != 0:
        raise RuntimeError(f"headrace {' '.join(args)}: {done.stderr.decode()[-800:]}")
    return took_s


def measure(home: Path, rounds: int = 7) -> dict[str, float]:
    """Return medians in seconds; the database is initialised, the server is not running."""
    table = home / "one.csv"
    table.write_text("title,price\nOne card,$1\n", encoding="utf-8")
    run = ["run", str(table), "--recipe", "product-card", "--out", str(home / "out"), "--quiet"]
    help_s = [_seconds(["--help"], home) for _ in range(rounds)]
    _seconds(run, home)
    cached_s = [_seconds(run, home) for _ in range(rounds)]
    return {
        "help_s": statistics.median(help_s),
        "cached_row_s": statistics.median(cached_s),
    }
