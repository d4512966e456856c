"""A process that lets one loop of the upkeep tick at given times: ``FOLDER LOOP SECONDS …``."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from headrace.blob import open_blobs
from headrace.loops.deliverer import Deliverer
from headrace.loops.expirer import Expirer
from headrace.loops.loop import Loop
from headrace.loops.sweeper import Sweeper
from headrace.master_key import MasterKeys
from headrace.store.database import connect
from headrace.testing import ManualClock
from headrace.upkeep_settings import Retention
from headrace.webhook_post import WebhookPost


async def main(home: Path, name: str, seconds: list[float]) -> None:
    """Tick once at each of the times, seconds since 1970, and end."""
    database = await connect(os.environ["HEADRACE_DATABASE_URL"])
    blobs = await open_blobs(str(home / "blobs"))
    clock = ManualClock(datetime.fromtimestamp(seconds[0], UTC))
    post = WebhookPost(clock, frozenset({"127.0.0.1"}))
    deliverer = Deliverer(database, clock, post, MasterKeys(home))
    loops: dict[str, Loop] = {
        "deliverer": deliverer,
        "expirer": Expirer(database, clock),
        "sweeper": Sweeper(database, blobs, clock, Retention(artifacts_days=1)),
    }
    for at_s in seconds:
        clock.step_wall(at_s - clock.now().timestamp())
        await loops[name].tick()
        await deliverer.sent()
    await post.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], [float(each) for each in sys.argv[3:]]))
