"""The simulator: listens on this machine, knows its shapes, and can be asked and set anew."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from headrace.clock import Clock, SystemClock
from headrace.errors import ConfigError
from headrace.simulator.control import Control
from headrace.simulator.desk import Desk, json_answer
from headrace.simulator.jobs import Jobs
from headrace.simulator.lane import Lane
from headrace.simulator.settings import Settings
from headrace.simulator.shapes.anthropic import AnthropicShape
from headrace.simulator.shapes.bfl import BflShape
from headrace.simulator.shapes.fal import FalShape
from headrace.simulator.shapes.gemini import GeminiShape
from headrace.simulator.shapes.openai import OpenAIShape
from headrace.simulator.shapes.openai_errors import error
from headrace.simulator.shapes.queue import QueueShape
from headrace.simulator.shapes.replicate import ReplicateShape
from headrace.simulator.truth import Truth
from headrace.simulator.wire import Answer, Connection, Request

HOST = "127.0.0.1"


class Shape(Protocol):
    """One API: which paths are its own, and its answers."""

    name: str

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        ...

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        ...


_SHAPES: dict[str, Callable[[Desk], Shape]] = {
    "anthropic": AnthropicShape,
    "openai": OpenAIShape,
    "replicate": ReplicateShape,
    "bfl": BflShape,
    "queue": QueueShape,
    "fal": FalShape,
    "gemini": GeminiShape,
}


class Simulator:
    """A provider on localhost. Start it, use ``url``, close it.

    ``log`` is a file to which every call is added as a line of JSON.
    """

    def __init__(
        self, settings: Settings, clock: Clock | None = None, log: Path | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self.truth = Truth(settings.log_calls_max, log)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._control = Control(self)
        self.reset(settings)

    def reset(self, settings: Settings) -> None:
        """Begin anew: new rules, an empty log, and time that starts at the next call."""
        if hasattr(self, "_shapes"):
            self._close_jobs()
        self.settings = settings
        self.truth.empty(settings.log_calls_max)
        self.lane = Lane(settings, self._clock, self.truth)
        desk = Desk(self.lane, self._clock)
        self._shapes: list[Shape] = [_SHAPES[name](desk) for name in settings.shapes]

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one. Raises ``ConfigError`` when it is taken."""
        remedy = "Choose another, or 0 for a free one."
        if not 0 <= port <= 65_535:  # uvloop would take what is left of it beyond 16 bits
            raise ConfigError(f"port {port} does not exist", place="--port", remedy=remedy)
        cap = self.settings.body_bytes_max

        def connect() -> Connection:
            return Connection(self.answer, self._clock, cap, self._connections)

        try:
            self._server = await asyncio.get_running_loop().create_server(
                connect, HOST, port, backlog=4096
            )
        except OSError as failure:
            taken = failure.errno == errno.EADDRINUSE
            said = "is in use" if taken else f"cannot be listened on: {failure}"
            raise ConfigError(f"port {port} {said}", place="--port", remedy=remedy) from failure

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Return the address without a path."""
        return f"http://{HOST}:{self.port}"

    async def close(self) -> None:
        """Stop listening, drop connections and jobs, close the log."""
        if self._server is not None:
            self._server.close()
        tasks = [one.task for one in self._connections if one.task is not None]
        for connection in list(self._connections):
            connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close_jobs()
        if self._server is not None:
            await self._server.wait_closed()
        self.truth.close()

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to any request; ``None`` for a reset."""
        path = request.path
        for shape in self._shapes:
            if shape.owns(request):
                return await shape.answer(request)
        if path.startswith("/_simulator/"):
            return self._control.answer(request)
        if path == "/":
            return json_answer(200, {"simulator": "headrace", "shapes": self.settings.shapes})
        return error(404, f"Invalid URL ({request.method} {path[:200]})")

    def _close_jobs(self) -> None:
        for shape in self._shapes:
            jobs = getattr(shape, "jobs", None)
            if isinstance(jobs, Jobs):
                jobs.close()
