"""Ctrl-C, SIGTERM and kill -9 at the command line: resumed later, all is there, nothing twice."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.terminal import RECIPE, Terminal

pytestmark = pytest.mark.process
ROWS = 80
SAVED = """
[[stages]]
name = "save"
kind = "write"
file = "{{ title }}"
"""
RUN = ("run", "in.csv", "--recipe", "recipe.toml", "--out", "out")


class Desk(Terminal):
    """A terminal whose folder has an input."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, RECIPE + SAVED)
        self.provider(0.2, 4)
        titles = "".join(f"row {number}\n" for number in range(ROWS))
        (folder / "in.csv").write_text("title\n" + titles)

    def all_is_well(self) -> None:
        """Every row is delivered and exported, nothing was paid twice, the books add up."""
        self.each_is_paid_once(ROWS)
        assert len(list((self.folder / "out/in").glob("*.txt"))) == ROWS
        report = json.loads((self.folder / "out/in/report.json").read_text())
        assert report["items"]["succeeded"] == ROWS
        assert self.run("ledger", "verify").returncode == 0


@pytest.fixture
def terminal(scratch: Path) -> Iterator[Desk]:
    """A folder that the embedded server's uid can enter."""
    folder = scratch / f"cli-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    made = Desk(folder)
    yield made
    made.close()


def test_ctrl_c_finishes_what_is_in_flight_and_resume_goes_on(terminal: Desk) -> None:
    """130, the command to go on with, no attempt left open; resumed, all is there once."""
    process = terminal.start(*RUN)
    terminal.until_calls(12)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "headrace resume b_" in err
    seen = len(terminal.calls())
    batch = json.loads(terminal.run("batches", "--json").stdout)[0]
    assert batch["items"]["succeeded"] == batch["attempts"] < ROWS
    assert len(terminal.calls()) == seen, "a look at the batches is no work"
    resumed = terminal.run("resume")
    assert resumed.returncode == 0, resumed.stderr
    terminal.all_is_well()


def test_sigterm_ends_well(terminal: Desk) -> None:
    """A supervisor's stop is no failure: what is in flight finishes, exit 0."""
    process = terminal.start(*RUN)
    terminal.until_calls(8)
    process.terminate()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert terminal.run("resume", "--quiet").returncode == 0
    terminal.all_is_well()


def test_ctrl_c_means_all_batches_that_are_being_resumed(terminal: Desk) -> None:
    """Resuming several, one Ctrl-C ends them all; the next resume goes on with all."""
    for name in ("one", "two"):
        process = terminal.start(*RUN, "--name", name, "--cache", "off")
        seen = len(terminal.calls())
        terminal.until_calls(seen + 8)
        process.kill()
        process.communicate(timeout=240)
    process = terminal.start("resume")
    terminal.until_calls(len(terminal.calls()) + 8)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode == 130
    states = {one["state"] for one in json.loads(terminal.run("batches", "--json").stdout)}
    assert states <= {"canary", "running"}
    assert terminal.run("resume").returncode == 0
    for name in ("one", "two"):
        assert len(list((terminal.folder / "out" / name).glob("*.txt"))) == ROWS


@pytest.mark.parametrize("how", ["twice", "killed"])
def test_a_hard_end_loses_nothing(terminal: Desk, how: str) -> None:
    """Ctrl-C twice or kill -9: calls in flight are sent again under their key, paid once."""
    process = terminal.start(*RUN)
    terminal.until_calls(10)
    if how == "killed":
        process.kill()
    else:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode == (-signal.SIGKILL if how == "killed" else 130)
    resumed = terminal.run("resume")
    assert resumed.returncode == 0, resumed.stderr
    terminal.all_is_well()
