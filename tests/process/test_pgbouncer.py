"""Through pgbouncer in transaction mode: what is of a session goes to the server itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import database_url, scratch, server, template
from tests.process.fleet import Fleet
from tests.process.pooler import Pooler

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROWS = 80


@pytest.fixture
def pooler(scratch: Path, database_url: str) -> Iterator[Pooler]:
    """With three sessions for everybody, so that nobody has one to itself."""
    made = Pooler(scratch / f"pooler-{time.monotonic_ns()}", database_url, 3)
    yield made
    made.stop()


@pytest.fixture
def fleet(scratch: Path, database_url: str, pooler: Pooler) -> Iterator[Fleet]:
    folder = scratch / f"fleet-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    made = Fleet(
        folder,
        database_url,
        0.5,
        HEADRACE_DATABASE_URL=pooler.url,
        HEADRACE_DATABASE_DIRECT_URL=database_url,
    )
    yield made
    made.close()


def test_two_workers_behind_a_pooler_that_is_restarted(fleet: Fleet, pooler: Pooler) -> None:
    """Two workers share three sessions, the pooler dies and comes back: all once, books right."""
    fleet.submit(ROWS)
    workers = [fleet.worker() for _ in range(2)]
    fleet.until_calls(10)
    pooler.stop()
    time.sleep(1.0)
    pooler.start()
    fleet.until_done(ROWS)
    fleet.all_is_well(ROWS)
    listed = fleet.run("workers")
    assert listed.stdout.count("working") == 2, listed.stderr
    verified = fleet.run("ledger", "verify")
    assert verified.returncode == 0, verified.stderr
    assert fleet.run("doctor").returncode == 0
    for worker in workers:
        worker.terminate()
        assert worker.wait(timeout=240) == 0
