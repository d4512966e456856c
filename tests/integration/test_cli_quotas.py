"""A day's quota and spent funds, from one command to the next on one home."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from headrace.simulator.server import Simulator
from tests.commands import HEADRACE, START_S
from tests.integration.calm import begin, simulator
from tests.integration.test_cli_run import RECIPE, Shell

__all__ = ["simulator"]

SETTINGS = """
[worker]
gate = "local"
[providers.mine]
kind = "openai-compatible"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "any"
limits = {{ {limits} }}
"""


class Desk(Shell):
    """A folder whose provider is a simulator; each command is a process with a gate of its own."""

    def __init__(self, folder: Path, database_url: str, port: int) -> None:
        super().__init__(folder, database_url)
        self.port = port
        (folder / "recipe.toml").write_text(RECIPE.replace("simulated:any", "mine:any"))

    def told(self, limits: str) -> None:
        """Tell the lane's limits in the settings."""
        text = SETTINGS.format(port=self.port, limits=limits)
        (self.folder / "headrace.toml").write_text(text)

    def rows(self, name: str) -> tuple[str, ...]:
        """Write an input of two rows of its own; return the command that runs it."""
        table = "sku,title\n" + "".join(f"{name}{n},Title {name}{n}\n" for n in range(2))
        (self.folder / f"{name}.csv").write_text(table)
        return ("run", f"{name}.csv", "--recipe", "recipe.toml", "--canary", "1")

    async def until(self, words: str, *command: str) -> str:
        """Run a command until it says that, and end it; return the line."""
        process = await asyncio.create_subprocess_exec(
            *HEADRACE, *command,
            cwd=self.folder, env=self._environment, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        line = ""
        try:
            async with asyncio.timeout(START_S):
                while words not in line:
                    line = (await process.stderr.readline()).decode()
                    assert line, "it ended before"
        finally:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), START_S)
        assert process.returncode == 130
        return line


@pytest.fixture
def desk(tmp_path: Path, database_url: str, simulator: Simulator) -> Desk:
    return Desk(tmp_path, database_url, simulator.port)


async def test_two_runs_on_a_day_s_quota_make_no_more_calls_than_it_allows(
    desk: Desk, simulator: Simulator
) -> None:
    """The second waits, and says until when; a larger quota counts on from the first."""
    desk.told("requests_per_day = 2")
    assert (await desk(*desk.rows("first"))).code == 0
    lanes = (await desk("lanes")).out
    assert "2 requests/day, pinned: 2 used, anew from 20" in lanes
    assert "its 2 requests a day are used up" in lanes
    said = await desk.until("lane mine/any is shut until 20", *desk.rows("second"))
    assert "its 2 requests a day are used up" in said
    assert simulator.truth.total == 2
    (waiting, _) = (await desk("batches", "--json")).json
    desk.told("requests_per_day = 4")
    assert (await desk("resume", waiting["batch"])).code == 0
    assert simulator.truth.total == 4
    assert "4 requests/day, pinned: 4 used" in (await desk("lanes")).out


async def test_a_lane_without_funds_is_known_to_the_next_command(
    desk: Desk, simulator: Simulator
) -> None:
    """It asks nobody and says why, ``lanes`` until when; ``resume`` asks at once."""
    desk.told("")
    begin(simulator, budget_calls=0)
    assert (await desk(*desk.rows("first"))).code == 4
    begin(simulator)
    second = await desk(*desk.rows("second"))
    assert second.code == 4, second.err
    assert "lane mine/any is shut: " in second.out
    assert simulator.truth.total == 0
    assert "shut        until 20" in (await desk("lanes")).out
    (paused, _) = (await desk("batches", "--json")).json
    assert (await desk("resume", paused["batch"])).code == 0
    assert simulator.truth.total == 2
    assert (await desk(*desk.rows("third"))).code == 0
