"""Ctrl-C, SIGTERM and kill -9 at the command line: resumed later, all is there, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
ROWS = 80
CONFIG = """
[worker]
shard_items_max = 20
[retry]
base_s = 0.0
cap_s = 0.0
[providers.simulated]
crash_class = "A"
latency_s = 0.2
concurrency = 4
cost_microusd = 40000
price_microcredits = 1000000
log_path = "calls.jsonl"
"""
RECIPE = """
[columns]
required = ["title"]
[[stages]]
name = "make"
kind = "generate"
model = "simulated:any"
prompt = "{{ title }}"
[[stages]]
name = "save"
kind = "write"
file = "{{ title }}"
"""
RUN = ("run", "in.csv", "--recipe", "recipe.toml", "--out", "out")


class Terminal:
    """A folder with an input and settings, and the command that runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(folder),
        }
        (folder / "headrace.toml").write_text(CONFIG)
        (folder / "recipe.toml").write_text(RECIPE)
        titles = "".join(f"row {number}\n" for number in range(ROWS))
        (folder / "in.csv").write_text("title\n" + titles)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "headrace", *words],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def calls(self) -> list[dict[str, Any]]:
        """What the provider saw."""
        log = self.folder / "calls.jsonl"
        if not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().splitlines()]

    def until_calls(self, count: int) -> None:
        """Wait until the provider has seen so many calls."""
        for _ in range(600):
            if len(self.calls()) >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"the provider saw only {len(self.calls())} calls")

    def all_is_well(self) -> None:
        """Every row is delivered and exported, nothing was paid twice, the books add up."""
        paid = Counter(call["fingerprint"] for call in self.calls() if call.get("paid"))
        assert len(paid) == ROWS
        assert set(paid.values()) == {1}
        assert len(list((self.folder / "out/in").glob("*.txt"))) == ROWS
        report = json.loads((self.folder / "out/in/report.json").read_text())
        assert report["items"]["succeeded"] == ROWS
        assert self.run("ledger", "verify").returncode == 0


@pytest.fixture
def terminal(scratch: Path) -> Terminal:
    """A folder that the embedded server's uid can enter."""
    folder = scratch / f"cli-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    return Terminal(folder)


def test_ctrl_c_finishes_what_is_in_flight_and_resume_goes_on(terminal: Terminal) -> None:
    """130, the command to go on with, no attempt left open; resumed, all is there once."""
    process = terminal.start(*RUN)
    terminal.until_calls(12)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "headrace resume b_" in err
    seen = len(terminal.calls())
    batch = json.loads(terminal.run("batches", "--json").stdout)[0]
    assert batch["items"]["succeeded"] == batch["attempts"] < ROWS
    assert len(terminal.calls()) == seen, "a look at the batches is no work"
    resumed = terminal.run("resume")
    assert resumed.returncode == 0, resumed.stderr
    terminal.all_is_well()


def test_sigterm_ends_well(terminal: Terminal) -> None:
    """A supervisor's stop is no failure: what is in flight finishes, exit 0."""
    process = terminal.start(*RUN)
    terminal.until_calls(8)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert terminal.run("resume", "--quiet").returncode == 0
    terminal.all_is_well()


def test_ctrl_c_means_all_batches_that_are_being_resumed(terminal: Terminal) -> None:
    """Resuming several, one Ctrl-C ends them all; the next resume goes on with all."""
    for name in ("one", "two"):
        process = terminal.start(*RUN, "--name", name, "--cache", "off")
        seen = len(terminal.calls())
        terminal.until_calls(seen + 8)
        process.kill()
        process.communicate(timeout=30)
    process = terminal.start("resume")
    terminal.until_calls(len(terminal.calls()) + 8)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    states = {one["state"] for one in json.loads(terminal.run("batches", "--json").stdout)}
    assert states <= {"canary", "running"}
    assert terminal.run("resume").returncode == 0
    for name in ("one", "two"):
        assert len(list((terminal.folder / "out" / name).glob("*.txt"))) == ROWS


@pytest.mark.parametrize("how", ["twice", "killed"])
def test_a_hard_end_loses_nothing(terminal: Terminal, how: str) -> None:
    """Ctrl-C twice or kill -9: calls in flight are sent again under their key, paid once."""
    process = terminal.start(*RUN)
    terminal.until_calls(10)
    if how == "killed":
        process.kill()
    else:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if how == "killed" else 130)
    resumed = terminal.run("resume")
    assert resumed.returncode == 0, resumed.stderr
    terminal.all_is_well()
