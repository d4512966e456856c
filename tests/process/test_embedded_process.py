"""The embedded server among processes that start together, are killed, and come back."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from headrace.store.embedded import open_embedded
from tests.process.conftest import Owner

pytestmark = pytest.mark.process
Start = Callable[..., Owner]
PLAIN_UID = 65534  # nobody: initdb wants a user with a name
NAMELESS_UID = 54321


def ask(url: str, sql: str = "SELECT 1") -> object:
    """Run one query on a connection of its own."""

    async def query() -> object:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(query())


def postmaster(data: str | Path) -> int:
    """The process id of a home's server."""
    return int(Path(data, "postmaster.pid").read_text().splitlines()[0])


def eventually(url: str, limit_s: float = 120) -> None:
    """Wait until the server answers, or fail."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            ask(url)
        except (OSError, asyncpg.PostgresError):
            assert time.monotonic() < deadline, "the server did not come back"
            time.sleep(0.1)
        else:
            return


def test_processes_that_start_together_share_one_server(scratch: Path, owner: Start) -> None:
    """Five processes race for a new home: one server, and the last to close stops it."""
    owners = [owner(scratch / "home") for _ in range(5)]
    answers = [process.answer() for process in owners]
    assert len({answer["url"] for answer in answers}) == 1, answers
    for process in owners[:-1]:
        process.close()
        assert ask(answers[0]["url"]) == 1
    owners[-1].close()
    assert not Path(answers[0]["data"], "postmaster.pid").exists()


def test_a_killed_owner_leaves_the_server_to_others(scratch: Path, owner: Start) -> None:
    """The one that started the server is killed: the other goes on and stops it at its end."""
    first = owner(scratch / "home")
    answer = first.answer()
    second = owner(scratch / "home")
    second.answer()
    first.kill()
    assert ask(answer["url"]) == 1
    second.close()
    assert not Path(answer["data"], "postmaster.pid").exists()


def test_a_server_without_owners_is_taken_over(scratch: Path, owner: Start) -> None:
    """The only owner is killed: the next one uses the same server, and stops it."""
    first = owner(scratch / "home")
    answer = first.answer()
    first.kill()
    pid = postmaster(answer["data"])
    second = owner(scratch / "home")
    assert second.answer() == answer
    assert postmaster(answer["data"]) == pid
    second.close()
    assert not Path(answer["data"], "postmaster.pid").exists()


def test_a_killed_postmaster_is_started_again_by_the_watch(scratch: Path, owner: Start) -> None:
    """The server is killed -9 with a session open: the same URL works again by itself."""
    process = owner(scratch / "home", "watch")
    answer = process.answer()
    ask(answer["url"], "CREATE TABLE kept ()")
    pid = postmaster(answer["data"])
    os.kill(pid, signal.SIGKILL)
    eventually(answer["url"])
    assert postmaster(answer["data"]) != pid
    assert ask(answer["url"], "SELECT to_regclass('kept') IS NOT NULL") is True
    process.close()


def test_a_killed_server_heals_at_the_next_start(scratch: Path, owner: Start) -> None:
    """Owner and postmaster are killed, a busy backend lingers: the next start waits for it."""
    first = owner(scratch / "home")
    answer = first.answer()

    async def kill_under_load() -> None:
        busy = await asyncpg.connect(answer["url"])
        # A computing backend notices its orphanhood only when it next waits.
        load = asyncio.create_task(
            busy.execute("SELECT count(*) FROM generate_series(1, 20000000)")
        )
        await asyncio.sleep(0.3)
        first.kill()
        os.kill(postmaster(answer["data"]), signal.SIGKILL)
        second = await asyncio.to_thread(lambda: owner(scratch / "home").answer())
        assert second == answer
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        busy.terminate()

    asyncio.run(kill_under_load())
    assert ask(answer["url"]) == 1


@pytest.fixture
def bystander(scratch: Path, owner: Start) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A stopped home whose pid file names a living process of the server's own user."""
    first = owner(scratch / "home")
    data = Path(first.answer()["data"])
    text = (data / "postmaster.pid").read_text()
    first.close()
    uid = data.stat().st_uid if os.geteuid() == 0 else None
    other = subprocess.Popen(["sleep", "600"], user=uid, group=uid)
    (data / "postmaster.pid").write_text("\n".join([str(other.pid), *text.splitlines()[1:]]) + "\n")
    # As a killed server leaves it, with its number given to another process.
    (data.with_name("run") / ".s.PGSQL.5432.lock").write_text(f"{other.pid}\n")
    yield data, other
    other.kill()
    other.wait()


def test_a_pid_file_from_before_a_reboot_is_no_obstacle(
    bystander: tuple[Path, subprocess.Popen[bytes]], scratch: Path, owner: Start
) -> None:
    """Our server's old number is somebody else's now, as in a restarted container."""
    data, other = bystander
    data.with_name("server").write_text(f"{other.pid}\n")
    assert ask(owner(scratch / "home").answer()["url"]) == 1
    assert other.poll() is None


def test_a_server_started_by_hand_is_left_alone(
    bystander: tuple[Path, subprocess.Popen[bytes]], scratch: Path, owner: Start
) -> None:
    """A pid file that we did not cause is PostgreSQL's to judge, and the error says so."""
    _, other = bystander
    assert "already exists" in owner(scratch / "home").answer()["error"]
    assert other.poll() is None
    other.kill()
    other.wait()
    assert ask(owner(scratch / "home").answer()["url"]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
class TestAsRoot:
    """What root does, and what it leaves alone."""

    def test_a_plain_user_is_served_as_itself(self, scratch: Path, owner: Start) -> None:
        """Without root the server runs as the user, and root may join it later."""
        home = scratch / "plain"
        home.mkdir()
        os.chown(home, PLAIN_UID, PLAIN_UID)
        process = owner(home, uid=PLAIN_UID)
        answer = process.answer()
        assert Path(f"/proc/{postmaster(answer['data'])}").stat().st_uid == PLAIN_UID
        assert owner(home).answer()["url"] == answer["url"]
        process.close()
        assert {path.stat().st_uid for path in (home / "postgres").rglob("*")} == {PLAIN_UID}

    def test_a_user_without_a_name_is_told(self, scratch: Path, owner: Start) -> None:
        """A container's arbitrary uid cannot make a database, and learns what to do."""
        home = scratch / "nameless"
        home.mkdir()
        os.chown(home, NAMELESS_UID, NAMELESS_UID)
        error = owner(home, uid=NAMELESS_UID).answer()["error"]
        assert f"needs a name for uid {NAMELESS_UID}" in error
        assert list((home / "postgres").glob("data*")) == []

    def test_another_users_home_is_refused(self, scratch: Path, owner: Start) -> None:
        """A plain user who opens another's home is told whose it is and what to do."""
        root = owner(scratch / "home")
        answer = root.answer()
        error = owner(scratch / "home", uid=PLAIN_UID).answer()["error"]
        assert "DatabaseError" in error
        assert "HEADRACE_HOME" in error
        # Nor does the socket let anybody in who is neither root nor the server.
        assert stat.S_IMODE(Path(answer["data"]).with_name("run").stat().st_mode) == 0o700

    def test_the_server_has_a_user_of_its_own(self, scratch: Path, owner: Start) -> None:
        """As root the server runs as a uid that is not root and that no account has."""
        answer = owner(scratch / "home").answer()
        uid = Path(f"/proc/{postmaster(answer['data'])}").stat().st_uid
        assert 60_600 <= uid < 61_100
        status = Path(f"/proc/{postmaster(answer['data'])}/status").read_text()
        assert "Groups:\t \n" in status

    def test_closed_folders_stay_closed(self, scratch: Path, owner: Start) -> None:
        """A home that others cannot enter keeps its mode; the data lies elsewhere, and says so."""
        closed = scratch / "closed"
        closed.mkdir(mode=0o700)
        process = owner(closed / "home")
        answer = process.answer()
        assert str(scratch / "system") in answer["data"]
        assert str(scratch / "system") in answer["note"]
        assert ask(answer["url"]) == 1
        process.close()
        assert owner(closed / "home").answer()["data"] == answer["data"]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o711

    async def test_closed_binaries_are_copied(
        self, scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Binaries in a folder that others cannot enter are copied once, and run from there."""
        from headrace.store.embedded import binaries

        closed = scratch / "venv"
        found = binaries.find_binaries(None, scratch)
        package = found.folder.parents[1]
        binaries._copy_open(found.folder.parent, closed / package.name / found.folder.parent.name)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            binaries._copy_open(libraries, closed / libraries.name)
        closed.chmod(0o700)
        folder = closed / package.name / found.folder.parent.name / "bin"
        monkeypatch.setattr(binaries, "_candidates", lambda: iter([folder]))
        for _ in range(2):
            server = await open_embedded(scratch / "home", system_place=scratch / "system")
            program = Path(f"/proc/{postmaster(server.data)}/exe").readlink()
            await server.close()
            assert program.is_relative_to(scratch / "system")
        assert len(list((scratch / "system").iterdir())) == 1
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
