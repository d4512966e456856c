"""``serve``: the HTTP API, with a worker in the same process."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.draining import begin_drain, checked_limit
from headrace.cli.following import told_to_end
from headrace.cli.main import on_loop
from headrace.cli.measuring import address_of, measured, metrics_socket
from headrace.cli.options import Common, data, engine_of, line

if TYPE_CHECKING:
    from headrace.engine import Engine


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 8400,
    worker: Annotated[bool, Parameter(help="Work here too; --no-worker only serves.")] = True,
    drain_timeout: Annotated[
        float | None,
        Parameter(help="Seconds after SIGTERM until others go on with what is in flight."),
    ] = None,
    metrics_port: Annotated[
        int | None, Parameter(help="Serve /metrics at a port of its own, too, without a key.")
    ] = None,
    metrics_host: Annotated[str, Parameter(help="Address of that port.")] = "127.0.0.1",
    common: Common | None = None,
) -> int:
    """Serve the HTTP API until Ctrl-C or SIGTERM. The first start makes an admin key, once."""
    common, limit_s = common or Common(), checked_limit(drain_timeout)

    async def drain_at(engine: Engine, stop: asyncio.Event) -> None:
        await stop.wait()
        begin_drain(engine, limit_s if worker else None)

    async def work() -> int:
        from headrace.http.app import build_app
        from headrace.http.server import listen
        from headrace.http.server import serve as serve_app
        from headrace.store import keys

        listening, measuring = listen(host, port), metrics_socket(metrics_host, metrics_port)
        async with engine_of(common, work=worker) as engine:
            async with engine.database.transaction() as connection:
                secret = await keys.make_first(connection, "default", engine.clock.now())
            stop, url = asyncio.Event(), address_of(listening)
            app = build_app(engine)
            with told_to_end(engine, stop):
                draining = asyncio.create_task(drain_at(engine, stop))
                async with measured(measuring, app.state.metrics) as metrics_at:
                    told = {
                        "url": url, "admin_key": secret, "worker": engine.worker.id or None,
                        "metrics": metrics_at,
                    }  # fmt: skip
                    await serve_app(app, listening, stop, lambda: _say(told, common.json))
                draining.cancel()
        return 0

    return int(on_loop(work()))


def _say(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        data(told)
    else:
        if told["admin_key"] is not None:
            line(f"The admin key of this installation, shown this once: {told['admin_key']}")
        line(f"headrace serves at {told['url']}; Ctrl-C or SIGTERM ends it")
        if told["metrics"] is not None:
            line(f"metrics at {told['metrics']}")
    sys.stdout.flush()  # whoever started it through a pipe waits for that line
