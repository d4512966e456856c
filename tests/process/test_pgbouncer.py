"""Through pgbouncer in transaction mode: what is of a session goes to the server itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from headrace.version import VERSION as OWN_VERSION
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.fleet import Fleet
from tests.process.load import Load
from tests.process.next_release import VERSION, NextRelease
from tests.process.pooler import Pooler

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROWS = 80
WAITS_FOR_LOCK = """
    SELECT 1 FROM pg_locks
    WHERE relation = 'attempt'::regclass AND NOT granted AND mode = 'AccessExclusiveLock'
"""
VERSION_NOW = "SELECT version_num FROM alembic_version"


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


@contextmanager
def reading_for_long(url: str) -> Iterator[None]:
    """Hold a transaction open that has read attempts: who changes that table has to wait."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))
        try:
            runner.run(connection.execute("BEGIN; LOCK TABLE attempt IN ACCESS SHARE MODE"))
            yield
        finally:
            runner.run(connection.close())


def working(fleet: Fleet) -> list[str]:
    """The releases of the workers that work, as anybody behind the pooler sees them."""
    listed = json.loads(fleet.run("workers", "--json").stdout)
    return sorted(one["version"] for one in listed if one["state"] == "working")


def end(worker: subprocess.Popen[str]) -> None:
    """Let a worker end what it has; it must do so without a complaint."""
    worker.terminate()
    assert worker.wait(timeout=240) == 0


def test_two_releases_change_over_behind_a_pooler_while_a_migration_runs(
    fleet: Fleet, database_url: str, pooler: Pooler, tmp_path: Path
) -> None:
    """Both releases share three sessions, one works on through the other's migration, the pooler
    dies under both, and a worker of each is killed: all is made once, the books add up.
    """
    later = NextRelease(tmp_path)
    later.expand()
    with Load(fleet) as load:
        older = [fleet.worker("--concurrency", "4") for _ in range(2)]
        load.until_each_works(*(one.pid for one in older))
        with reading_for_long(database_url):
            migration = fleet.start("migrate", sources=later.sources)
            fleet.until(lambda: fleet.ask(WAITS_FOR_LOCK), "the migration waits for its lock")
            load.until_more(40, "the older release works while the migration waits")
            assert migration.poll() is None
        said, complaints = migration.communicate(timeout=240)
        assert migration.returncode == 0, said + complaints
        assert fleet.ask(VERSION_NOW)[0]["version_num"] == later.schema
        newer = [fleet.worker("--concurrency", "4", sources=later.sources) for _ in range(2)]
        load.until_each_works(*(one.pid for one in (*older, *newer)))
        assert working(fleet) == sorted([OWN_VERSION, VERSION] * 2)
        pooler.stop()
        older[0].kill()
        newer[0].kill()
        pooler.start()
        older.append(fleet.worker("--concurrency", "4"))
        load.until_each_works(older[1].pid, older[2].pid, newer[1].pid)
        for one in older[1:]:
            end(one)
        load.until_more(20, "the newer release is left alone and goes on")
    fleet.until_done(load.rows)
    fleet.all_is_well(load.rows)
    assert working(fleet) == [VERSION]
    verified = fleet.run("ledger", "verify")
    assert verified.returncode == 0, verified.stderr
    doctor = fleet.run("doctor", sources=later.sources)
    assert doctor.returncode == 0, doctor.stdout
    end(newer[1])


def test_a_contraction_behind_a_pooler_waits_for_older_workers(
    fleet: Fleet, tmp_path: Path
) -> None:
    """It is refused while a worker of the release before is signed in, who works on, and it goes
    through once that one has left, whatever names the pooler's sessions still have.
    """
    later = NextRelease(tmp_path)
    later.expand()
    later.contract()
    worker = fleet.worker()
    refused = fleet.run("migrate", sources=later.sources)
    assert refused.returncode == 6, refused.stdout
    assert f"process {worker.pid}, headrace {OWN_VERSION}" in refused.stderr
    fleet.submit(ROWS)
    fleet.until_done(ROWS)
    end(worker)
    fleet.worker(sources=later.sources)
    assert fleet.ask(VERSION_NOW)[0]["version_num"] == later.schema
    late = fleet.run("worker")
    assert late.returncode == 6
    assert "upgrade headrace" in late.stderr
    fleet.all_is_well(ROWS)
