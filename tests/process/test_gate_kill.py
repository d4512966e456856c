"""Workers of one lane as processes: one is killed, the database is killed; nobody bursts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from headrace.store.migrate import migrate
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.conftest import Owner
from tests.process.test_embedded_process import eventually

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process

Sent = list[tuple[float, int, float]]
"""When an end of a call was, which (+1 or -1), and the moment that the gate gave its start."""


class Child:
    """A worker process; ``seen`` is what it said, each call's start (+1) and end (-1)."""

    def __init__(self, url: str, *words: float) -> None:
        command = [sys.executable, "-m", "tests.process.gate_child", url, *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Kill it without a word."""
        self.process.kill()

    def seen(self) -> Sent:
        """Wait for its end and return what it said; half a line of a killed one is left out."""
        out, _ = self.process.communicate(timeout=240)
        lines = [line.split() for line in out.splitlines(keepends=True) if line.endswith("\n")]
        told = [words for words in lines if len(words) > 1 and words[1] in ("+1", "-1")]
        return [(float(words[0]), int(words[1]), float(words[-1])) for words in told]


def starts(seen: Sent, from_s: float, until_s: float) -> int:
    return sum(1 for _, by, due_s in seen if by > 0 and from_s <= due_s < until_s)


def most_in(seen: Sent, span_s: float, from_s: float) -> int:
    """The most calls that began within any span after a moment."""
    moments = sorted(due_s for _, by, due_s in seen if by > 0 and due_s >= from_s)
    return max(sum(1 for t in moments if at <= t < at + span_s) for at in moments)


def test_a_killed_worker_leaves_its_rate_to_the_others(database_url: str) -> None:
    """At 100 a second, three workers stay three workers' worth when one is killed -9."""
    began_s = time.monotonic()
    children = [Child(database_url, 100, 400, 0.02, 6.0) for _ in range(3)]
    ready_s = time.monotonic()
    time.sleep(2.0)
    children[0].kill()
    killed_s = time.monotonic()
    seen = sorted(one for child in children for one in child.seen())
    assert starts(seen, killed_s + 0.5, killed_s + 2.5) >= 0.93 * 200
    assert starts(seen, ready_s + 0.5, killed_s + 2.5) <= 1.03 * 100 * (killed_s + 2.0 - ready_s)
    assert most_in(seen, 0.2, ready_s + 0.5) <= 20 + 8, "no burst, also when it died"
    assert began_s < ready_s


def test_a_killed_worker_leaves_its_places_after_a_while(database_url: str) -> None:
    """Of nine places some were its own: free again seconds later, and never ten out at once."""
    children = [Child(database_url, 100_000, 9, 0.25, 8.0) for _ in range(3)]
    time.sleep(2.0)
    children[0].kill()
    killed_s = time.monotonic()
    all_seen = [child.seen() for child in children]
    # As a rule three of the nine, but nobody owns a third.
    held = sum(by for _, by, _ in all_seen[0])
    out = most = 0
    for at, by, _ in sorted(one for seen in all_seen[1:] for one in seen):
        out += by
        if killed_s < at < killed_s + 0.9:
            assert out <= 9 - held + 1, "its calls may still run at the provider"
        most = max(most, out)
    assert most == 9
    late = sum(starts(seen, killed_s + 3.5, killed_s + 5.5) for seen in all_seen[1:])
    assert late >= 0.85 * 9 / 0.25 * 2.0


def test_a_killed_database_neither_stops_the_workers_nor_makes_them_burst(
    scratch: Path, owner: Callable[..., Owner]
) -> None:
    """Killed -9 and started again: at most half the pace meanwhile, all of it afterwards."""
    home = owner(scratch / "killed", "watch")
    answer = home.answer()

    async def prepare() -> None:
        connection = await asyncpg.connect(answer["url"])
        await migrate(connection)
        await connection.close()

    asyncio.run(prepare())
    children = [Child(answer["url"], 100, 400, 0.02, 300.0) for _ in range(2)]
    time.sleep(3.0)
    pid = int(Path(answer["data"], "postmaster.pid").read_text().splitlines()[0])
    # Whoever would start it again is held up, so that it is away for as long as is asked about.
    home.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    time.sleep(1.0)
    home.process.send_signal(signal.SIGCONT)
    eventually(answer["url"])
    # Both come back within seconds, and then go on for some.
    time.sleep(8.0)
    until_s = time.monotonic()
    for child in children:
        child.kill()
    seen = sorted(one for child in children for one in child.seen())
    assert most_in(seen, 0.25, killed_s - 2.0) <= 25 + 9
    alone = starts(seen, killed_s + 0.2, killed_s + 1.0) / 0.8
    assert 0 < alone <= 60, "half of what was had"
    assert starts(seen, until_s - 2.5, until_s - 0.5) >= 0.9 * 200, "and then all of it"
