"""A worker that finds or adds a schedule whose tick is due, and works until its batch has ended."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from headrace.config import Config
from headrace.cron import check_cron
from headrace.engine import Engine, open_engine
from headrace.errors import ConflictError
from headrace.identity import new_uuid
from headrace.provider import CrashClass
from headrace.schedule import Schedule, read_settings
from headrace.store import schedule_ticks, schedules
from tests.integration.scripted import Scripted

RECIPE = """
name = "words"
[[stages]]
kind = "generate"
model = "scripted:m"
prompt = "{{ t }}"
"""


async def add(engine: Engine, home: Path) -> None:
    """Add the schedule, with a moment that has just passed; only the first process does."""
    now = engine.clock.now()
    made = Schedule(
        new_uuid(now), "default", "night", "0 0 1 1 *", "UTC", "words",
        {"file": str(home / "rows.csv")}, read_settings({}), "active",
        now - timedelta(seconds=5), now,
    )  # fmt: skip
    assert check_cron(made.cron, made.timezone, now) > now
    with suppress(ConflictError):
        async with engine.database.transaction() as connection:
            await schedules.insert(connection, made)


async def main(home: Path) -> None:
    """Work until the schedule's batch has ended."""
    config = Config(home=str(home), database_url=os.environ["HEADRACE_DATABASE_URL"])
    provider = Scripted(crash_class=CrashClass.PURE)
    async with open_engine(config, providers={"scripted": provider}) as engine:
        await add(engine, home)
        async with engine.database.acquire() as connection:
            (schedule,) = await schedules.listed(connection, "default")
        while True:
            async with engine.database.acquire() as connection:
                ticks = await schedule_ticks.history(connection, schedule.id, None, 10)
            if ticks and ticks[0]["batch_state"] == "completed":
                return
            await engine.clock.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
