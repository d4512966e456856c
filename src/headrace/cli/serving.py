"""``serve``: the HTTP API, with a worker in the same process."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headrace.cli.draining import begin_drain, checked_limit
from headrace.cli.following import stop_signals
from headrace.cli.main import on_loop
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

        listening = listen(host, port)
        async with engine_of(common, work=worker) as engine:
            async with engine.database.transaction() as connection:
                secret = await keys.make_first(connection, "default", engine.clock.now())
            stop = asyncio.Event()
            name, taken = listening.getsockname()[:2]
            url = f"http://{f'[{name}]' if ':' in name else name}:{taken}"

            def ready() -> None:
                if common.json:
                    data({"url": url, "admin_key": secret, "worker": engine.worker.id or None})
                else:
                    if secret is not None:
                        line(f"The admin key of this installation, shown this once: {secret}")
                    line(f"headrace serves at {url}; Ctrl-C or SIGTERM ends it")
                sys.stdout.flush()  # whoever started it through a pipe waits for that line

            with stop_signals(stop):
                draining = asyncio.create_task(drain_at(engine, stop))
                await serve_app(build_app(engine), listening, stop, ready)
                draining.cancel()
        return 0

    return int(on_loop(work()))
