"""G14: told to stop under load, a worker claims nothing more, and nothing of its work is lost."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import database_url, scratch, server, template
from tests.process.fleet import WIDTH, Fleet

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROWS = 32
CLAIM_S_MAX = 1.0
BEGUN = "SELECT started_at, state FROM attempt"
DELIVERED = "SELECT 1 FROM item WHERE state = 'succeeded'"
LASTING_S = 8.0
"""Calls that a deploy does not wait for. Not longer: the places of who is gone are taken for twice
as long as calls last, and the next worker waits for them."""
IN_FLIGHT = """
    SELECT DISTINCT worker.id FROM shard
    JOIN attempt ON attempt.shard_id = shard.id AND attempt.fence = shard.fence
    JOIN worker ON worker.id = shard.worker_id AND worker.ended_at IS NULL
    WHERE attempt.state = 'started' AND attempt.number = 1
"""
"""Who has calls that last: what is asked for again, the provider may have made meanwhile."""


def draining(worker: subprocess.Popen[str]) -> str:
    return f"SELECT 1 FROM worker WHERE draining_at IS NOT NULL AND pid = {worker.pid}"


@pytest.fixture
def fleet(scratch: Path, database_url: str) -> Iterator[Callable[[float], Fleet]]:
    made: list[Fleet] = []

    def make(latency_s: float) -> Fleet:
        folder = scratch / f"fleet-{time.monotonic_ns()}"
        folder.mkdir(mode=0o755)
        made.append(Fleet(folder, database_url, latency_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_sigterm_under_load_ends_what_is_in_flight_and_no_more(
    fleet: Callable[[float], Fleet],
) -> None:
    """No call is begun a second after SIGTERM; those in flight are delivered; exit 0."""
    works = fleet(6.0)
    works.submit(ROWS)
    worker = works.worker()
    # All places are taken: none is free before the first of these calls ends.
    works.until(lambda: len(works.ask(BEGUN)) >= WIDTH, "calls")
    told = works.ask("SELECT clock_timestamp() AS now")[0]["now"]
    worker.terminate()
    works.until(lambda: works.ask(draining(worker)), "draining")
    assert worker.poll() is None, "calls are under way"
    assert worker.wait(timeout=240) == 0, works.complaints(worker)
    begun = works.ask(BEGUN)
    assert max((one["started_at"] - told).total_seconds() for one in begun) < CLAIM_S_MAX
    assert {one["state"] for one in begun} == {"succeeded"}
    assert len(works.ask(DELIVERED)) == len(begun) < ROWS
    works.answers_after(0.01)
    works.worker()
    works.until_done(ROWS)
    works.all_is_well(ROWS)


def test_at_the_limit_others_go_on_with_calls_in_flight(fleet: Callable[[float], Fleet]) -> None:
    """Deploys that end calls in flight again and again make no item a poison item."""
    works = fleet(LASTING_S)
    # More than four deploys can begin, also where a machine is slow to send them.
    works.submit(3 * ROWS)
    for _ in range(4):
        worker = works.worker("--drain-timeout", "0.2")
        works.until(lambda: works.ask(IN_FLIGHT), "calls")
        worker.terminate()
        began_s = time.monotonic()
        assert worker.wait(timeout=240) == 0
        assert time.monotonic() - began_s < 0.8 * LASTING_S
        assert "others go on" in works.complaints(worker)
        works.until(lambda: not works.ask("SELECT 1 FROM worker WHERE ended_at IS NULL"), "ended")
    assert works.ask("SELECT sum(crashes)::int AS count FROM item")[0]["count"] == 0
    works.answers_after(0.01)
    for _ in range(2):
        works.worker("--concurrency", "2")
    works.until_done(3 * ROWS)
    works.all_is_well(3 * ROWS)


def test_killed_while_it_drains_loses_nothing(fleet: Callable[[float], Fleet]) -> None:
    """A supervisor that loses patience kills what drains: another worker goes on with it."""
    works = fleet(6.0)
    # Four shards, two places each, and the work comes last: the first would have taken it all.
    worker, other = works.worker("--concurrency", "2"), works.worker("--concurrency", "2")
    works.submit(ROWS)
    works.until(lambda: len(works.ask(IN_FLIGHT)) == 2, "calls of both")
    worker.terminate()
    works.until(lambda: works.ask(draining(worker)), "draining")
    assert worker.poll() is None, "it waits for its calls"
    worker.kill()
    worker.wait(timeout=240)
    works.until_done(ROWS)
    works.all_is_well(ROWS)
    listed = json.loads(works.run("workers", "--json").stdout)
    assert {one["pid"]: one["state"] for one in listed} == {
        worker.pid: "ended",
        other.pid: "working",
    }
    other.terminate()
    assert other.wait(timeout=240) == 0
