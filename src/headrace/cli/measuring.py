"""A port for metrics beside whatever else a command does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.metrics import Metrics


def metrics_socket(host: str, port: int | None) -> socket.socket | None:
    """Return where metrics are listened for, ``None`` without a port; raises ``ConfigError``."""
    if port is None:
        return None
    from headrace.http.server import listen

    return listen(host, port, "--metrics-port")


def address_of(listening: socket.socket) -> str:
    """Return the address that a socket is reached at."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextlib.asynccontextmanager
async def measured(listening: socket.socket | None, metrics: Metrics) -> AsyncIterator[str | None]:
    """Serve metrics while the block runs, and yield their address; without a socket nothing."""
    if listening is None:
        yield None
        return
    from headrace.http.metrics import build_metrics_app
    from headrace.http.server import serve

    stop, ready = asyncio.Event(), asyncio.Event()
    app = build_metrics_app(metrics)
    serving = asyncio.create_task(serve(app, listening, stop, ready.set), name="metrics")
    try:
        await ready.wait()
        yield f"{address_of(listening)}/metrics"
    finally:
        stop.set()
        await serving
