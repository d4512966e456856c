"""Two releases on one database, as processes: forward under load, back, and where one must end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.version import VERSION as OWN_VERSION
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.fleet import Fleet
from tests.process.load import Load
from tests.process.next_release import VERSION, NextRelease

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
MORE = 60


@pytest.fixture
def fleet(scratch: Path, database_url: str) -> Iterator[Fleet]:
    folder = scratch / f"fleet-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    made = Fleet(folder, database_url, 0.3)
    yield made
    made.close()


@pytest.fixture
def later(tmp_path: Path) -> NextRelease:
    return NextRelease(tmp_path)


def test_releases_work_side_by_side_through_a_migration_and_back(
    fleet: Fleet, later: NextRelease
) -> None:
    """A fleet is upgraded, killed and set back under load: all is made once, the books add up."""
    later.expand()
    with Load(fleet) as load:
        older = [fleet.worker("--concurrency", "4") for _ in range(2)]
        load.until_more(20, "the older release works")
        newer = fleet.worker("--concurrency", "4", sources=later.sources)
        # Those that ran went on through it; one is killed, and starts again behind it.
        assert all(one.poll() is None for one in older)
        version = fleet.ask("SELECT version_num FROM alembic_version")[0]["version_num"]
        assert version == later.schema
        older[0].kill()
        older[0].wait(timeout=30)
        older.append(fleet.worker("--concurrency", "4"))
        load.until_each_works(newer.pid, older[1].pid, older[2].pid)
        listed = json.loads(fleet.run("workers", "--json").stdout)
        assert {one["version"] for one in listed if one["state"] == "working"} == {
            OWN_VERSION,
            VERSION,
        }
        # And back: only the older release is left under load.
        newer.terminate()
        assert newer.wait(timeout=120) == 0
        load.until_more(20, "the older one goes on")
    fleet.until_done(load.rows)
    fleet.all_is_well(load.rows)
    verified = fleet.run("ledger", "verify")
    assert verified.returncode == 0, verified.stderr
    doctor = fleet.run("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert f"schema: {later.schema}, by headrace {VERSION}" in doctor.stdout
    by_release = fleet.ask("SELECT made_by, count(*) FROM attempt GROUP BY 1")
    assert {one["made_by"] for one in by_release} == {None, VERSION}


def test_a_contraction_waits_for_older_workers_and_then_ends_their_release(
    fleet: Fleet, later: NextRelease
) -> None:
    """It is refused while they are signed in, goes through when they left, and keeps them out."""
    later.expand()
    needs = later.contract()
    worker = fleet.worker()
    looked = fleet.run("migrate", "--look", sources=later.sources)
    assert looked.returncode == 1
    assert f"ends releases that know less than {needs}" in looked.stdout
    refused = fleet.run("migrate", sources=later.sources)
    assert refused.returncode == 6
    assert "takes away" in refused.stderr
    assert f"process {worker.pid}, headrace {OWN_VERSION}" in refused.stderr
    assert "headrace workers" in refused.stderr
    assert worker.poll() is None
    fleet.submit(MORE)
    fleet.until_done(MORE)
    worker.terminate()
    assert worker.wait(timeout=120) == 0
    fleet.worker(sources=later.sources)
    assert fleet.ask("SELECT version_num FROM alembic_version")[0]["version_num"] == later.schema
    late = fleet.run("worker")
    assert late.returncode == 6
    assert f"migrated by a newer headrace ({VERSION})" in late.stderr
    assert "upgrade headrace" in late.stderr
    fleet.all_is_well(MORE)


def test_a_forced_contraction_ends_older_workers_with_the_remedy(
    fleet: Fleet, later: NextRelease
) -> None:
    """Told not to ask, it goes through; who is left behind notices, drains and says what to do."""
    later.expand()
    later.contract()
    worker = fleet.worker()
    forced = fleet.run("migrate", "--anyway", sources=later.sources)
    assert forced.returncode == 0, forced.stderr
    assert worker.wait(timeout=120) == 6
    assert "upgrade headrace" in fleet.complaints(worker)
    signed_in = "SELECT 1 FROM worker WHERE ended_at IS NULL"
    fleet.until(lambda: not fleet.ask(signed_in), "it has signed out")
