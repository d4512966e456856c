"""Killed processes and schedules: a tick makes one batch, whoever dies over it and when."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.schedule_child import RECIPE

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
POINTS = ("tick-planned", "tick-before-batch", "submit-before-commit", "tick-before-commit")


def child(home: Path, url: str, crash_at: str = "") -> subprocess.Popen[bytes]:
    environment = os.environ | {"HEADRACE_DATABASE_URL": url, "HEADRACE_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "tests.process.schedule_child", str(home)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_point_of_a_tick_makes_one_batch(
    point: str, database_url: str, tmp_path: Path
) -> None:
    """Killed between the tick's row and its batch's commit, another process makes it, once."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "words.toml").write_text(RECIPE)
    (tmp_path / "rows.csv").write_text("t\n" + "".join(f"row {n}\n" for n in range(20)))
    victim = child(tmp_path, database_url, point)
    _, said = await asyncio.to_thread(victim.communicate, timeout=240)
    assert victim.returncode == -signal.SIGKILL, said.decode()[-2000:]
    others = [child(tmp_path, database_url) for _ in range(2)]
    for other in others:
        _, said = await asyncio.to_thread(other.communicate, timeout=240)
        assert other.returncode == 0, said.decode()[-2000:]
    connection = await asyncpg.connect(database_url)
    try:
        ticks = await connection.fetch("SELECT state, batch_id FROM schedule_tick")
        assert [tick["state"] for tick in ticks] == ["made"]
        made = await connection.fetch("SELECT id FROM batch")
        assert [row["id"] for row in made] == [ticks[0]["batch_id"]]
        items = await connection.fetch("SELECT state, count(*) AS n FROM item GROUP BY 1")
        assert {row["state"]: row["n"] for row in items} == {"succeeded": 20}
        assert await connection.fetchval("SELECT count(*) FROM schedule_row") == 20
        assert await verify(connection) == []
    finally:
        await connection.close()
