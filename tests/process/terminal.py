"""The command line as a process, in a folder with settings and a recipe of one simulated call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"
RECIPE = """
[columns]
required = ["title"]
[[stages]]
name = "make"
kind = "generate"
model = "simulated:any"
prompt = "{{ title }}"
"""
SETTINGS = """
[worker]
shard_items_max = 20
[retry]
base_s = 0.0
cap_s = 0.1
[providers.simulated]
crash_class = "A"
latency_s = LATENCY_S
concurrency = CONCURRENCY
cost_microusd = 40000
price_microcredits = 1000000
log_path = "FOLDER/calls.jsonl"
"""


def environment_in(folder: Path, **more: str) -> dict[str, str]:
    """What a command of headrace needs to know, and nothing of the tests' own environment."""
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "HOME": str(folder)}
    return bare | more


class Terminal:
    """A folder, the commands that were started there, and what their provider saw."""

    def __init__(self, folder: Path, recipe: str = RECIPE, **environment: str) -> None:
        self.folder = folder
        self.environment = environment_in(folder, **environment)
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "recipe.toml").write_text(recipe)

    def provider(self, latency_s: float, concurrency: int) -> None:
        """Let the provider be like that, for commands that are started from now on."""
        told = SETTINGS.replace("LATENCY_S", str(latency_s)).replace("FOLDER", str(self.folder))
        told = told.replace("CONCURRENCY", str(concurrency))
        (self.folder / "headrace.toml").write_text(told)

    def start(
        self, *words: str, stderr: Any = subprocess.PIPE, sources: Path = SOURCES
    ) -> subprocess.Popen[str]:
        """Start a command, of the release in ``sources``, and leave it running."""
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", *words],
            cwd=self.folder, env=self.environment | {"PYTHONPATH": str(sources)}, text=True,
            stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, *words: str, sources: Path = SOURCES) -> subprocess.CompletedProcess[str]:
        """Run a command, of the release in ``sources``, to its end."""
        process = self.start(*words, sources=sources)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def calls(self) -> list[dict[str, Any]]:
        """What the provider saw."""
        log = self.folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def until_calls(self, count: int) -> None:
        """Wait until the provider has seen so many calls."""
        self.until(lambda: len(self.calls()) >= count, f"{count} calls")

    def until(self, true: Callable[[], Any], what: str, seconds: float = 240.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if true():
                return
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s: {what}")

    def each_is_paid_once(self, count: int) -> None:
        """So many different calls were paid, none of them twice."""
        paid = Counter(call["fingerprint"] for call in self.calls() if call.get("paid"))
        assert len(paid) == count
        assert set(paid.values()) == {1}

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            # One that was heard to its end is closed already.
            if process.stdout is not None and not process.stdout.closed:
                process.communicate(timeout=240)
