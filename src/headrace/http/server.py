"""Runs the app on a socket, inside of the loop that the engine works on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Generator

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from headrace.errors import ConfigError

DRAIN_S = 10
WS_BYTES_MAX = 64 * 1024
"""Of what comes in by a WebSocket, and is not looked at."""
QUIET = ("/healthz", "/readyz", "/metrics")


class _Quiet(logging.Filter):
    """Leaves the probes of orchestrators, and scrapes, out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        path = args[2] if isinstance(args, tuple) and len(args) > 2 else ""
        return str(path).partition("?")[0] not in QUIET


class _Server(uvicorn.Server):
    """A server whose end is decided by whoever started it, not by signals of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ``ConfigError``."""
    remedy = f"Choose another with {option}, or 0 for a free one."
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(2048)
        found.setblocking(False)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "is in use" if taken else f"cannot be listened on: {error}"
        raise ConfigError(f"{host}:{port} {why}", place=option, remedy=remedy) from error
    return found


async def serve(
    app: FastAPI, listening: socket.socket, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until ``stop``; then answer what is under way, for at most ``DRAIN_S`` seconds."""
    logging.getLogger("uvicorn.access").addFilter(_Quiet())
    config = uvicorn.Config(
        app,
        log_level="warning",
        # Where the log is JSON, uvicorn's lines are to be as well.
        log_config=None if logging.getLogger().handlers else LOGGING_CONFIG,
        http="httptools",
        ws="auto",
        ws_max_size=WS_BYTES_MAX,
        # Packed one by one: for thousands of readers of the same small texts it is memory only.
        ws_per_message_deflate=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=30,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    waiting = asyncio.create_task(stop.wait())
    ready()
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    server.should_exit = True
    await running
