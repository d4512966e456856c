"""``worker``: one more process, or machine, for the work of a shared database."""

from __future__ import annotations

import asyncio
import sys

from headrace.cli.following import stop_signals
from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line


def worker(*, common: Common | None = None) -> int:
    """Work on whatever is submitted to the database, until SIGTERM or Ctrl-C; then finish."""
    common = common or Common()

    async def work() -> int:
        async with engine_of(common, work=True) as engine:
            stop = asyncio.Event()
            with stop_signals(stop):
                shared = engine.config.database_url is not None
                where = "the database of the settings" if shared else engine.config.home
                if common.json:
                    data({"worker": engine.worker.id, "home": engine.config.home})
                else:
                    line(f"worker {engine.worker.id} works on {where}; Ctrl-C or SIGTERM ends it")
                sys.stdout.flush()  # whoever started it through a pipe waits for that line
                await stop.wait()
        return 0

    return int(on_loop(work()))
