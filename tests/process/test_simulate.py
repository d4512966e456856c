"""``headrace simulate`` as a process: it names its port, tells its errors, and sums up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]


class Terminal:
    """Starts the command in a folder; what was left running is killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a simulator."""
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "simulate", *words],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def begin(self, *words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start one that speaks JSON on a free port; returns what it says of itself."""
        process = self.start("--port", "0", "--json", *words)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    def end(self, process: subprocess.Popen[str]) -> str:
        """Press Ctrl-C and return what it says then."""
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        return out


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A folder of its own."""
    terminal = Terminal(tmp_path)
    yield terminal
    for process in terminal.processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=240)


def chat(base_url: str) -> int:
    """Send a chat completion; returns the status."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_names_its_port_serves_and_sums_up(terminal: Terminal) -> None:
    """Address and summary as JSON lines, a line in the log for each call."""
    process, told = terminal.begin(
        "--rpm", "60", "--burst", "2", "--latency", "0", "--log", "l.jsonl"
    )
    assert told["OPENAI_BASE_URL"] == f"http://127.0.0.1:{told['port']}/v1"
    statuses = [chat(told["OPENAI_BASE_URL"]) for _ in range(3)]
    assert statuses == [200, 200, 429]
    summary = json.loads(terminal.end(process).splitlines()[-1])
    assert (summary["succeeded"], summary["refused"], summary["ideal_s"]) == (2, 1, 0.0)
    log = [json.loads(line) for line in (terminal.folder / "l.jsonl").read_text().splitlines()]
    assert [call["status"] for call in log] == statuses


def test_people_are_told_the_addresses_and_the_ideal(terminal: Terminal) -> None:
    """Base URLs to copy, and at the end what was achieved beside what was possible."""
    process = terminal.start("--port", "0", "--latency", "0.05")
    assert process.stdout is not None
    head = [process.stdout.readline() for _ in range(4)]
    base = next(line for line in head if "OPENAI_BASE_URL=" in line).partition("=")[2].strip()
    assert any("REPLICATE_BASE_URL=" in line for line in head)
    assert chat(base) == 200
    out = terminal.end(process)
    assert "1 requests: 1 succeeded, 0 refused" in out
    assert "a client that knows the limits would need 0.1 s" in out


def test_it_serves_on_when_nobody_reads_what_it_says(terminal: Terminal) -> None:
    """The reader of its address may leave: it ends in order, without a trace of that."""
    process, told = terminal.begin("--latency", "0")
    assert process.stdout is not None
    process.stdout.close()
    assert chat(told["OPENAI_BASE_URL"]) == 200
    process.terminate()
    assert process.wait(240) == 0
    process.stdout = None
    _, err = process.communicate(timeout=240)
    assert "BrokenPipe" not in (err or "")


def test_a_flag_replaces_the_scenarios_limit_of_its_dimension(terminal: Terminal) -> None:
    """The others stay."""
    (terminal.folder / "s.toml").write_text(
        "[[limits]]\namount = 1\n[[limits]]\ndimension = 'tokens'\namount = 1000\n"
    )
    process, told = terminal.begin("--scenario", "s.toml", "--rpm", "30")
    with urllib.request.urlopen(told["url"] + "/_simulator/settings", timeout=60) as answer:
        limits = json.load(answer)["limits"]
    assert {one["dimension"]: one["amount"] for one in limits} == {"tokens": 1000, "requests": 30}
    terminal.end(process)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--retry-after", "secondes"), 5, "Did you mean 'seconds'?"),
        (("--rpm", "-1"), 5, "--rpm: -1.0 is out of range"),
        (("--rpm", "inf"), 5, "Give a number above 0, or leave the flag out."),
        (("--scenario", "none.toml"), 5, "there is no such file"),
        (("--limiter", "leaky"), 2, "limiter"),
        (("--log", "no/such/folder.jsonl"), 6, "cannot be written"),
        (("--port", "99999"), 5, "99999"),
    ],
)
def test_bad_settings_end_with_a_remedy(
    terminal: Terminal, words: tuple[str, ...], code: int, said: str
) -> None:
    """Exit code and message, no traceback."""
    process = terminal.start(*words)
    _, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    assert said in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_named(terminal: Terminal) -> None:
    """With what to do about it."""
    _, told = terminal.begin()
    process = terminal.start("--port", str(told["port"]))
    _, err = process.communicate(timeout=240)
    assert process.returncode == 5
    assert f"port {told['port']} is in use" in err
    assert "0 for a free one" in err
