"""A server that plays an API of jobs: each route has its answers, the last one for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from headrace.clock import SystemClock
from tests.integration.speaking import Answer, Heard, Speaker, says, speaking


class HurriedClock(SystemClock):
    """A clock on which sleeping takes no time, and time goes on all the same."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.slept_s

    async def sleep(self, duration_s: float) -> None:
        self.slept_s += max(0.0, duration_s)
        await asyncio.sleep(0)


@dataclass
class Played:
    """Where it plays, and what it heard: by method and the beginning of the path."""

    speaker: Speaker
    routes: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return self.speaker.origin

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """Answer requests whose path begins so; the longest such beginning counts."""
        self.routes[method, path] = list(answers)

    def heard(self, method: str, path: str = "/") -> list[Heard]:
        """What came by that method for paths that begin so."""
        return [
            one for one in self.speaker.heard if one.method == method and one.path.startswith(path)
        ]

    async def answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        fitting = [
            route
            for route in self.routes
            if route[0] == heard.method and heard.path.startswith(route[1])
        ]
        answers = [says(b"no such route", 404)]
        if fitting:
            answers = self.routes[max(fitting, key=lambda route: len(route[1]))]
        await (answers.pop(0) if len(answers) > 1 else answers[0])(heard, writer)


@asynccontextmanager
async def playing() -> AsyncIterator[Played]:
    """Play while the block runs."""
    played: list[Played] = []

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await played[0].answer(heard, writer)

    async with speaking(answer) as speaker:
        played.append(Played(speaker))
        yield played[0]
