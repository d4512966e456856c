"""Killed -9 while jobs run at a provider: they are looked at again, and none is made twice."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from headrace.simulator.server import Simulator
from headrace.simulator.settings import LatencySettings, Settings
from headrace.simulator.wire import Answer, Request
from headrace.testing import ManualClock
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.terminal import environment_in

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROWS, WIDTH = 9, 6
CONFIG = """
[providers.{shape}]
base_url = "{url}{base_path}"
limits = {{ concurrency = {width}, requests_per_minute = 6000 }}
"""
RECIPE = """
[columns]
required = ["title"]
[[stages]]
name = "make"
kind = "generate"
model = "{shape}:{model}"
prompt = "{{{{ title }}}}"
[[stages]]
name = "save"
kind = "write"
file = "{{{{ title }}}}"
"""


class Api(NamedTuple):
    """A simulated API: where it lies, a model, what makes a job, and what looks at which one."""

    base_path: str
    model: str
    create: str
    look: str


APIS = {
    "replicate": Api("/v1", "acme/painter", "/v1/models/.*", r"/v1/predictions/(\w+)"),
    "bfl": Api("", "flux-2-pro", "/v1/flux.*", r"/v1/get_result\?id=(\w+)"),
}


class Watched(Simulator):
    """A simulator that counts the jobs made and the looks at each."""

    def __init__(self, api: Api, settings: Settings, clock: ManualClock) -> None:
        super().__init__(settings, clock)
        self._api = api
        self.creates = 0
        self.looks: Counter[str] = Counter()

    async def answer(self, request: Request) -> Answer | None:
        place = request.path + (f"?{request.query}" if request.query else "")
        look = re.fullmatch(self._api.look, place)
        if request.method == "POST" and re.fullmatch(self._api.create, request.path):
            self.creates += 1
        elif look is not None and request.method == "GET":
            self.looks[look[1]] += 1
        return await super().answer(request)


class Terminal:
    """A folder with an input and settings, and the command that runs there."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self._environment = environment_in(folder, HEADRACE_DATABASE_URL=database_url)
        titles = "".join(f"row {number}\n" for number in range(ROWS))
        (folder / "in.csv").write_text("title\n" + titles)

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Start a command and leave it running."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "headrace", *words, cwd=self._folder, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def killed_when(self, seen: Callable[[], bool], *words: str) -> None:
        """Start a command and kill it -9 as soon as the provider has seen what is waited for."""
        process = await self.start(*words)
        try:
            for _ in range(4800):
                if seen() or process.returncode is not None:
                    break
                await asyncio.sleep(0.05)
            assert seen(), process.returncode
        finally:
            if process.returncode is None:
                process.kill()
            _, err = await process.communicate()
        assert process.returncode == -9, err.decode()[-2000:]


@asynccontextmanager
async def simulated(shape: str, clock: ManualClock) -> AsyncIterator[Watched]:
    settings = Settings(shapes=(shape,), latency=LatencySettings(median_s=30.0))
    simulator = Watched(APIS[shape], settings, clock)
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.close()


@pytest.mark.parametrize("shape", [*APIS])
async def test_jobs_that_ran_when_the_worker_was_killed_are_looked_at_and_not_made_again(
    shape: str, database_url: str, tmp_path: Path
) -> None:
    """Killed twice while jobs run: each row is made once, delivered once, and the books add up."""
    clock, api, terminal = ManualClock(), APIS[shape], Terminal(tmp_path, database_url)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(shape=shape, model=api.model))
    async with simulated(shape, clock) as simulator:
        told = CONFIG.format(shape=shape, url=simulator.url, base_path=api.base_path, width=WIDTH)
        (tmp_path / "headrace.toml").write_text(told)
        run = ("run", "in.csv", "--recipe", "recipe.toml", "--out", "out")
        await terminal.killed_when(lambda: len(simulator.looks) == WIDTH, *run)
        assert simulator.creates == WIDTH
        # Those that never ran go first; who was at work when its worker died walks alone.
        await terminal.killed_when(lambda: len(simulator.looks) == ROWS, "resume")
        assert simulator.creates == ROWS

        process = await terminal.start("resume")
        ended = asyncio.ensure_future(process.communicate())
        while not ended.done():
            await clock.advance(1.0)
            await asyncio.wait({ended}, timeout=0.02)
        _, err = ended.result()
        assert process.returncode == 0, err.decode()[-2000:]
        assert simulator.creates == len(simulator.looks) == ROWS
        truth = simulator.truth.summary()
        assert (truth["paid_keys"], truth["paid_calls"], truth["paid_twice"]) == (ROWS, ROWS, 0)
    report = json.loads((tmp_path / "out/in/report.json").read_text())
    assert report["items"]["succeeded"] == ROWS
    assert len(list((tmp_path / "out/in").glob("*.png"))) == ROWS + 1, "the contact sheet, too"
    verify = await terminal.start("ledger", "verify")
    out, err = await verify.communicate()
    assert verify.returncode == 0, (out, err)
