"""An object store that fails while pictures are made: all are delivered, each is paid once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from headrace.blob import open_blobs
from headrace.errors import NotFoundError
from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.object_storage import KEYS, Proxy, running_moto
from tests.process.object_store_child import ITEMS, SPOOL_BYTES_MAX

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]


class Spool:
    """The folder of a spool, looked at from outside."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "spool"
        self._left: set[Path] = set()
        self.most_bytes = 0

    def look(self) -> int:
        """Return how many results wait, and remember the most bytes seen.

        Only of files that are there before and after: others came when the first had gone.
        """
        files, sizes = self._files(), []
        for path in files:
            with suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        if files == self._files():
            self.most_bytes = max(self.most_bytes, sum(sizes))
        waiting = self._folder / "waiting"
        return sum(1 for _ in waiting.iterdir()) if waiting.is_dir() else 0

    def leave(self) -> None:
        """Leave out what a killed process was receiving: it stays for hours, until it is swept."""
        self._left |= {path for path in self._files() if path.parent == self._folder}

    def _files(self) -> set[Path]:
        return {path for path in self._folder.rglob("*") if path.is_file()} - self._left


class Stage:
    """A provider, a store behind its proxy, and the child between them."""

    def __init__(self, simulator: Simulator, proxy: Proxy, s3: str, home: Path, url: str) -> None:
        self.simulator, self.proxy, self.s3, self.home, self.url = simulator, proxy, s3, home, url
        self.spool = Spool(home)
        self._child: asyncio.subprocess.Process | None = None

    async def start(self, crash_at: str = "") -> None:
        """Start the child; one that ran before has ended."""
        self.spool.leave()
        environment = os.environ | KEYS | {"AWS_ENDPOINT_URL": self.s3}
        environment |= {"HEADRACE_DATABASE_URL": self.url, "PYTHONPATH": str(ROOT / "src")}
        environment |= {"HEADRACE_CRASH_AT": crash_at}
        module, url = "tests.process.object_store_child", self.simulator.url
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, str(self.home), url, env=environment, cwd=ROOT
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        """Watch the spool until something holds, or the child has ended."""
        assert self._child is not None
        async with asyncio.timeout(240):
            while self._child.returncode is None and not holds():
                self.spool.look()
                await asyncio.sleep(0.02)

    async def end(self) -> int:
        """Wait for the child's end, and return it."""
        assert self._child is not None
        await self.until(lambda: False)
        assert self._child.returncode is not None
        return self._child.returncode

    def kill(self) -> None:
        """Kill the child as a power cut would."""
        assert self._child is not None
        if self._child.returncode is None:
            os.kill(self._child.pid, signal.SIGKILL)

    @property
    def calls(self) -> int:
        """How many calls the provider has answered."""
        return int(self.simulator.truth.summary()["requests"])

    async def is_quiet(self) -> bool:
        """Whether the provider has nothing to do for a while: all room is taken."""
        before = self.calls
        await asyncio.sleep(1.0)
        self.spool.look()
        return before == self.calls > 0

    async def audit(self, monkeypatch: pytest.MonkeyPatch, in_flight_max: int = 0) -> None:
        """All are delivered and readable, each was paid once, nothing waits any more.

        Of calls in flight at a kill nobody can know: they may be made again, and are counted.
        Bodies that were not written down yet stay for hours.
        """
        again = self.calls - ITEMS
        assert 0 <= again <= in_flight_max
        assert self.spool.look() <= in_flight_max
        assert self.spool.most_bytes <= SPOOL_BYTES_MAX
        connection = await asyncpg.connect(self.url)
        try:
            states = await connection.fetch("SELECT state, count(*) FROM item GROUP BY 1")
            assert {row["state"]: row["count"] for row in states} == {"succeeded": ITEMS}
            assert await connection.fetchval("SELECT count(*) FROM spooled_result") == 0
            assert await connection.fetchval("SELECT sum(repeats) FROM batch_progress") == again
            if not in_flight_max:
                assert await connection.fetchval("SELECT sum(crashes) FROM item") == 0
            made = await connection.fetch("SELECT sha256 FROM artifact")
            assert len(made) == ITEMS
            assert await verify(connection) == []
        finally:
            await connection.close()
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": self.s3}).items():
            monkeypatch.setenv(name, value)
        blobs = await open_blobs("s3://pictures/studio", self.home / "elsewhere")
        for row in made:
            assert await blobs.verify(row["sha256"]) == "sound"
        await blobs.close()


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Pictures of 200 KB, eight at a time; the store is well at first."""
    latency = {"median_s": 0.05, "slots": 8}
    simulator = Simulator(build_settings({"latency": latency, "output": {"image_bytes": 200_000}}))
    await simulator.start(0)
    async with running_moto() as url:
        proxy = Proxy(url)
        found = Stage(simulator, proxy, await proxy.start(), tmp_path, database_url)
        yield found
        found.kill()
        await found.end()
        await proxy.close()
    await simulator.close()


async def test_the_store_refuses_stalls_and_is_busy(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away results wait on the disk, up to the bound; then calls wait unsent."""
    await stage.start()
    await stage.until(lambda: stage.calls >= 5)
    for mode in ("503", "stall", "refuse"):
        stage.proxy.turn(mode)
        await asyncio.sleep(1.0)
        stage.spool.look()
    assert await stage.is_quiet()
    assert stage.calls < ITEMS
    assert stage.spool.look() >= 5
    stage.proxy.turn("pass")
    assert await stage.end() == 0
    await stage.audit(monkeypatch)


async def test_killed_with_a_full_spool(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process had spooled is sent by the next one, and not made again."""
    stage.proxy.turn("503")
    await stage.start()
    await stage.until(lambda: stage.spool.look() >= 8)
    while not await stage.is_quiet():
        pass
    waiting, calls = stage.spool.look(), stage.calls
    assert 0 < calls < ITEMS
    stage.kill()
    assert await stage.end() == -signal.SIGKILL
    assert stage.spool.look() == waiting == calls
    stage.proxy.turn("pass")
    await stage.start()
    assert await stage.end() == 0
    await stage.audit(monkeypatch)


@pytest.mark.parametrize("crash_at", ["spooled-after-commit:7", "blob-after-upload:9"])
async def test_killed_between_the_steps(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    """Killed once a result is written down, or once it was sent: it is not made again."""
    await stage.start(crash_at)
    assert await stage.end() == -signal.SIGKILL
    connection = await asyncpg.connect(stage.url)
    bought = await connection.fetch("SELECT idx FROM spooled_result")
    await stage.start()
    assert await stage.end() == 0
    await stage.audit(monkeypatch, in_flight_max=8)
    # Whatever was made again, it is none of those that were written down.
    again = await connection.fetch("SELECT idx FROM attempt WHERE key_number > 1")
    await connection.close()
    assert bought
    assert not {row["idx"] for row in bought} & {row["idx"] for row in again}


# -- the store by itself -------------------------------------------------------------------------


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """An S3 behind a proxy, with keys to it in the environment."""
    async with running_moto() as url:
        proxy = Proxy(url)
        told = KEYS | {"AWS_ENDPOINT_URL": await proxy.start()}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield proxy
        await proxy.close()


async def test_a_film_goes_in_parts_and_only_whole(s3: Proxy, tmp_path: Path) -> None:
    """Large bodies are sent in parts; where the bytes are not those of the hash, none is left."""
    blobs = await open_blobs("s3://pictures/films", tmp_path)
    assert blobs.outbox is not None
    body = os.urandom(20_000_000)
    artifact = await blobs.put(body, "video/mp4", await blobs.outbox.enter())
    await blobs.forward(artifact)
    assert await blobs.verify(artifact.sha256) == "sound"
    url = await blobs.signed_url(artifact.sha256, 60)
    assert url is not None
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert await answer.read() == body
        assert answer.content_type == "video/mp4"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        # In parts: an object that came at once has the bytes' MD5 as its tag.
        assert answer.headers["ETag"].strip('"').endswith("-3")
    other = await blobs.put(body[::-1], "video/mp4", await blobs.outbox.enter())
    path = blobs.outbox.path(other.sha256)
    with path.open("r+b") as file:
        file.write(b"rotten")
    with pytest.raises(NotFoundError, match="damaged"):
        await blobs.forward(other)
    assert not await blobs.exists(other.sha256)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{os.environ['AWS_ENDPOINT_URL']}/pictures?uploads") as left,
    ):
        assert "<UploadId>" not in await left.text()
    await blobs.close()


async def test_doctor_says_what_is_missing(s3: Proxy, database_url: str, tmp_path: Path) -> None:
    """A store that works, keys without rights, a bucket that is not there, one out of reach."""

    async def doctor(bucket: str) -> tuple[int, dict[str, Any]]:
        told = {"HEADRACE_BLOB_URL": f"s3://{bucket}/studio", "HEADRACE_HOME": str(tmp_path)}
        told |= {"HEADRACE_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-m", "headrace", "doctor", "--json"]
        child = await asyncio.create_subprocess_exec(
            *command, env=os.environ | told, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
        assert child.returncode is not None
        found = {one["what"]: one for one in json.loads(output)}
        return child.returncode, found["blob store"]

    code, found = await doctor("pictures")
    assert (code, found["state"]) == (0, "ok")
    code, found = await doctor("elsewhere")
    assert (code, found["state"]) == (1, "fail")
    assert "bucket" in found["remedy"]
    s3.turn("403")
    code, found = await doctor("pictures")
    assert (code, found["state"]) == (1, "fail")
    assert "write (PutObject)" in found["seen"]
    assert "rights" in found["remedy"]
    s3.turn("refuse")
    code, found = await doctor("pictures")
    assert (code, found["state"]) == (1, "fail")
    assert "reached" in found["remedy"]
