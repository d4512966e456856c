"""Killed while items move between models: each goes on where it was asked, and is paid once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from headrace.providers.simulated.call_log import read_call_log
from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.routing_child import ITEMS

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process


async def worked(url: str, home: Path, crash_class: str, crash_at: str = "") -> int:
    """Run the child to its end; returns how it ended."""
    environment = os.environ | {"HEADRACE_DATABASE_URL": url, "HEADRACE_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "tests.process.routing_child", str(home), crash_class]
    child = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, timeout=240, check=False
    )
    assert child.returncode in (0, -signal.SIGKILL), child.stderr.decode()[-2000:]
    return child.returncode


@pytest.mark.parametrize(
    ("crash_class", "crash_at"),
    [
        ("A", "after-send:20"),
        ("B", "before-send:30"),
        ("C", "settle-after-commit:3"),
    ],
)
async def test_a_kill_between_two_models_buys_nothing_twice(
    database_url: str, tmp_path: Path, crash_class: str, crash_at: str
) -> None:
    """Killed and resumed, every item is delivered, and no prompt is paid at both models.

    In class C the few whose id was not yet seen at the kill may be bought again: first at the
    provider that was asked, at the other one should that fail now. Each such purchase is counted.
    """
    assert await worked(database_url, tmp_path, crash_class, crash_at) == -signal.SIGKILL
    assert await worked(database_url, tmp_path, crash_class) == 0
    logs = {name: read_call_log(tmp_path / f"{name}.log") for name in ("first", "second")}
    paid = {
        name: Counter(line["prompt"] for line in lines if line["paid"])
        for name, lines in logs.items()
    }
    assert paid["first"], "the first model makes some"
    assert paid["second"], "the second model makes the rest"
    twice = sum(paid["first"].values()) + sum(paid["second"].values()) - ITEMS
    connection = await asyncpg.connect(database_url)
    try:
        states = await connection.fetch("SELECT state, count(*) AS items FROM item GROUP BY 1")
        repeats = await connection.fetchval("SELECT sum(repeats) FROM batch_progress")
        moved = await connection.fetchval(
            "SELECT count(*) FROM item WHERE made -> 'make' ->> 'why' IS NOT NULL"
        )
        findings = await verify(connection)
    finally:
        await connection.close()
    assert {row["state"]: row["items"] for row in states} == {"succeeded": ITEMS}
    assert findings == []
    assert moved > 0
    both = paid["first"].keys() & paid["second"].keys()
    assert len(both) <= (repeats if crash_class == "C" else 0)
    assert twice <= (repeats if crash_class == "C" else 0)
