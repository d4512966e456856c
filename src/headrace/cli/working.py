"""``worker``: one more process, or machine, for the work of a shared database."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headrace.cli.following import stop_signals
from headrace.cli.main import on_loop
from headrace.cli.measuring import measured, metrics_socket
from headrace.cli.options import Common, data, engine_of, line

if TYPE_CHECKING:
    from headrace.engine import Engine


def worker(
    *,
    metrics_port: Annotated[
        int | None, Parameter(help="Serve /metrics at this port; 0 takes a free one.")
    ] = None,
    metrics_host: Annotated[str, Parameter(help="Address of that port.")] = "127.0.0.1",
    metrics_database: Annotated[
        bool, Parameter(help="Tell of the whole database, too: where no server does.", negative="")
    ] = False,
    common: Common | None = None,
) -> int:
    """Work on whatever is submitted to the database, until SIGTERM or Ctrl-C; then finish."""
    common = common or Common()

    async def work() -> int:
        listening = metrics_socket(metrics_host, metrics_port)
        async with engine_of(common, work=True) as engine:
            stop = asyncio.Event()
            async with contextlib.AsyncExitStack() as stack:
                stack.enter_context(stop_signals(stop))
                at = None
                if listening is not None:
                    from headrace.http.metrics import metrics_of

                    metrics = metrics_of(engine, database=metrics_database)
                    at = await stack.enter_async_context(measured(listening, metrics))
                _say(common, engine, at)
                await stop.wait()
        return 0

    return int(on_loop(work()))


def _say(common: Common, engine: Engine, metrics_at: str | None) -> None:
    shared = engine.config.database_url is not None
    where = "the database of the settings" if shared else engine.config.home
    if common.json:
        told = {"worker": engine.worker.id, "home": engine.config.home}
        data(told if metrics_at is None else {**told, "metrics": metrics_at})
    else:
        line(f"worker {engine.worker.id} works on {where}; Ctrl-C or SIGTERM ends it")
        if metrics_at is not None:
            line(f"metrics at {metrics_at}")
    sys.stdout.flush()  # whoever started it through a pipe waits for that line
