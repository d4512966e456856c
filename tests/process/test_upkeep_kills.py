"""Loops of the upkeep, killed at each of their steps: the next process ends what they began."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config
from headrace.engine import open_engine
from headrace.identity import new_uuid
from headrace.loops.deliverer import LEASE_S
from headrace.loops.sweeper import GRACE
from headrace.master_key import MasterKeys
from headrace.store import ledger, webhooks
from headrace.store.audit import verify
from headrace.store.database import Database, connect
from headrace.store.ledger import Accounts
from headrace.telemetry import CRASH_POINTS
from headrace.webhook_signature import is_standard_webhook, new_standard_secret
from tests.integration.conftest import database_url, scratch, server, template
from tests.integration.scripted import Scripted
from tests.integration.speaking import says, speaking
from tests.integration.test_engine import recipe, rows

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def child(url: str, home: Path, loop: str, *at_s: float, crash_at: str = "") -> int:
    """Let a loop tick at those times in a process of its own; returns how that ended."""
    environment = os.environ | {"HEADRACE_DATABASE_URL": url, "HEADRACE_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "tests.process.upkeep_child", str(home), loop]
    command += [str(each) for each in at_s]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, timeout=240, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()[-2000:]
    return done.returncode


async def all_of(database: Database, sql: str) -> list[dict[str, Any]]:
    async with database.acquire() as connection:
        assert await verify(connection) == []
        return [dict(row) for row in await connection.fetch(sql)]


def points(prefix: str) -> list[str]:
    return [name for name in CRASH_POINTS if name.startswith(prefix)]


@pytest.mark.parametrize("point", points("message-"))
async def test_a_killed_deliverer_loses_no_message(
    point: str, database_url: str, tmp_path: Path
) -> None:
    """Whatever it was killed at, the message comes, always under one id with the same bytes."""
    database, secret = await connect(database_url), new_standard_secret()
    async with speaking(says(b"", 204)) as speaker:
        async with database.transaction() as connection:
            url = f"http://127.0.0.1:{speaker.port}/hook"
            told = ("default", url, ["batch.completed"], secret, NOW)
            hook = await webhooks.insert(connection, MasterKeys(tmp_path), *told)
            await connection.execute(
                "INSERT INTO webhook_outbox (webhook_id, batch_id, event, seq, at) "
                "VALUES ($1, $2, 'batch.completed', 1, $3)",
                hook,
                new_uuid(NOW),
                NOW,
            )
        at_s = NOW.timestamp() + 5
        code = await child(database_url, tmp_path, "deliverer", at_s, crash_at=point)
        assert code == -signal.SIGKILL
        before = len(speaker.heard)
        assert before == (point == "message-after-send")
        late_s = at_s + LEASE_S + 1
        assert await child(database_url, tmp_path, "deliverer", at_s + 1, late_s) == 0
        heard = [(one.headers["webhook-id"], one.body) for one in speaker.heard]
    assert len(heard) == before + 1
    assert len(set(heard)) == 1
    assert is_standard_webhook(
        speaker.heard[-1].headers, heard[-1][1], secret, datetime.fromtimestamp(late_s, UTC)
    )
    (message,) = await all_of(database, "SELECT state FROM webhook_delivery")
    assert message["state"] == "delivered"
    assert await all_of(database, "SELECT * FROM webhook_outbox") == []
    await database.close()


@pytest.mark.parametrize("point", points("expire-"))
async def test_a_killed_expirer_takes_credits_once(
    point: str, database_url: str, tmp_path: Path
) -> None:
    """Killed before its commit it has taken nothing; the next one takes it, and only once."""
    database = await connect(database_url)
    async with database.transaction() as connection:
        until = NOW + timedelta(hours=1)
        await ledger.grant(connection, Accounts(), "default", 5, "x", NOW, "r", until)
    late_s = until.timestamp()
    sql = "SELECT amount_microcredits FROM transfer WHERE kind = 'expire'"
    code = await child(database_url, tmp_path, "expirer", late_s, crash_at=point)
    assert code == -signal.SIGKILL
    assert await all_of(database, sql) == []
    assert await child(database_url, tmp_path, "expirer", late_s, late_s + 60) == 0
    assert await all_of(database, sql) == [{"amount_microcredits": 5}]
    await database.close()


@pytest.mark.parametrize("point", points("sweep-"))
async def test_a_killed_sweeper_leaves_no_bytes(
    point: str, database_url: str, tmp_path: Path
) -> None:
    """What it began to remove the next one removes, from the rows and from the blobs."""
    config = Config(home=str(tmp_path), database_url=database_url)
    provider = Scripted(body_bytes=20_000)
    async with open_engine(config, providers={"scripted": provider}) as engine:
        await (await engine.submit(rows(3), recipe(), columns=["t"])).done()
        now_s = engine.clock.now().timestamp()
    blobs = tmp_path / "blobs"
    assert sum(path.is_file() for path in blobs.rglob("*")) == 3
    grace_s = GRACE.total_seconds() + 1
    times = [now_s + 2 * 86_400 + number * grace_s for number in range(5)]
    code = await child(database_url, tmp_path, "sweeper", *times, crash_at=point)
    assert code == -signal.SIGKILL
    late = [each + 5 * grace_s for each in times]
    assert await child(database_url, tmp_path, "sweeper", *late) == 0
    database = await connect(database_url)
    assert [path for path in blobs.rglob("*") if path.is_file()] == []
    assert await all_of(database, "SELECT * FROM artifact") == []
    assert await all_of(database, "SELECT * FROM item WHERE outputs IS NOT NULL") == []
    await database.close()
