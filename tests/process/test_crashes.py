"""Killed processes: nothing lost, nothing twice, and a poison item cannot take the rest along."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from bench.crash import CLASSES, sweep
from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process


def options(**more: object) -> argparse.Namespace:
    # Most of a run is waiting until the places of the dead are free.
    told = {"items": 60, "random": 4, "workers": 1, "classes": CLASSES, "seed": 7, "jobs": 3}
    return argparse.Namespace(**(told | more))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kill_at_every_named_point_loses_nothing(workers: int) -> None:
    """Killed -9 at each crash point and resumed, all items are delivered and the audit is clean."""
    totals = asyncio.run(sweep(options(workers=workers)))
    assert totals.findings == []
    assert (totals.lost, totals.undelivered) == (0, 0)
    assert totals.killed >= 15


async def test_a_poison_item_is_dead_after_three_deaths_and_refunded(
    database_url: str, tmp_path: Path
) -> None:
    """An item at which every worker dies ends dead and refunded; all others are delivered."""
    environment = os.environ | {"HEADRACE_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "tests.process.poison_child", str(tmp_path)]
    deaths = 0
    for _ in range(6):
        child = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, timeout=120, check=False
        )
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]
        deaths += 1
    assert deaths == 3
    connection = await asyncpg.connect(database_url)
    try:
        states = await connection.fetch("SELECT state, array_agg(idx) AS idxs FROM item GROUP BY 1")
        assert {row["state"]: len(row["idxs"]) for row in states} == {"succeeded": 29, "dead": 1}
        assert next(row["idxs"] for row in states if row["state"] == "dead") == [7]
        held = await connection.fetchval(
            "SELECT balance_microcredits FROM account WHERE kind = 'held'"
        )
        assert held == 0
        assert await verify(connection) == []
    finally:
        await connection.close()
