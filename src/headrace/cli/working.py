"""``worker``: one more process, or machine, for the work of a shared database; ``workers``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.draining import begin_drain, checked_limit
from headrace.cli.following import told_to_end
from headrace.cli.main import on_loop
from headrace.cli.measuring import measured, metrics_socket
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.store.workers import WorkerSeen

ENDED_SHOWN = timedelta(hours=1)


def worker(
    *,
    concurrency: Annotated[
        int | None, Parameter(help="Shards in hand at a time (2 or more).")
    ] = None,
    classes: Annotated[
        str | None, Parameter(help="Only batches of these classes: interactive,batch,bulk.")
    ] = None,
    drain_timeout: Annotated[
        float | None,
        Parameter(help="Seconds after SIGTERM until others go on with what is in flight."),
    ] = None,
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
    common, limit_s = common or Common(), checked_limit(drain_timeout)
    flags = {"worker.shards_held": concurrency, "worker.classes": classes}

    async def work() -> int:
        listening = metrics_socket(metrics_host, metrics_port)
        async with engine_of(common, work=True, **flags) as engine:
            stop = asyncio.Event()
            async with contextlib.AsyncExitStack() as stack:
                stack.enter_context(told_to_end(engine, stop))
                at = None
                if listening is not None:
                    from headrace.http.metrics import metrics_of

                    metrics = metrics_of(engine, database=metrics_database)
                    at = await stack.enter_async_context(measured(listening, metrics))
                _say(common, engine, at)
                await stop.wait()
                begin_drain(engine, limit_s)
        return 0

    return int(on_loop(work()))


def workers(*, common: Common | None = None) -> int:
    """List the workers that are signed in, and those that ended within the hour."""

    async def work() -> int:
        from headrace.store import workers as known

        async with engine_of(common, work=False) as engine:
            now = engine.clock.now()
            async with engine.database.acquire() as connection:
                seen = await known.seen(
                    connection, now, engine.config.worker.heartbeat_s, now - ENDED_SHOWN
                )
        if common is not None and common.json:
            data([_told(one) for one in seen])
        elif not seen:
            line("No worker is signed in: headrace worker, or headrace serve, starts one.")
        else:
            head = ["worker", "host", "pid", "version", "state", "shards", "classes", "heartbeat"]
            table(head, [_row(one, now) for one in seen])
        return 0

    return int(on_loop(work()))


def _told(one: WorkerSeen) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(one).items()
    }


def _row(one: WorkerSeen, now: datetime) -> list[str]:
    ago = ""
    if one.heartbeat_at is not None:
        ago = f"{(now - one.heartbeat_at).total_seconds():.0f} s ago"
    return [
        str(one.id),
        one.host,
        str(one.pid),
        one.version,
        one.state.value,
        f"{one.shards} of {one.shards_held}" + (f", {one.express} express" if one.express else ""),
        ", ".join(one.classes or ["all"]),
        ago,
    ]


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
