"""Blobs: acknowledged means whole, durable and under its hash; failure leaves nothing visible."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace import durable
from headrace.artifact import Artifact
from headrace.blob import Blobs, blob_key, open_blobs
from headrace.errors import ConfigError, NotFoundError, StorageError
from headrace.spool import GATHERED_BYTES, HELD, Spool


@pytest.fixture(params=["folder", "memory"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    url = str(tmp_path / "blobs") if request.param == "folder" else "memory://"
    opened = await open_blobs(url, tmp_path / "spool")
    yield opened
    await opened.close()


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = await open_blobs(str(tmp_path / "blobs"))
    yield opened
    await opened.close()


async def spooled(blobs: Blobs, body: bytes, bytes_max: int = 10**9) -> None:
    async with blobs.spool("image/png", bytes_max) as spool:
        for start in range(0, len(body), 65_536):
            await spool.write(body[start : start + 65_536])
        await spool.commit()


async def abandoned(blobs: Blobs) -> None:
    async with blobs.spool("image/png") as spool:
        await spool.write(b"half a picture" * GATHERED_BYTES)
        raise RuntimeError


def names_in(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


async def test_what_is_put_is_read(blobs: Blobs, tmp_path: Path) -> None:
    """Bytes, files and spools come back as they went in, under their SHA-256."""
    body = os.urandom(3_000_000)
    file = tmp_path / "body"
    file.write_bytes(body)
    digest = hashlib.sha256(body).digest()
    by_file = await blobs.put(file, "image/png")
    async with blobs.spool("image/png") as spool:
        for start in range(0, len(body), 65_536):
            await spool.write(body[start : start + 65_536])
        spooled = await spool.commit()
    by_bytes = await blobs.put(body, "image/png")
    assert by_file == spooled == by_bytes
    assert (by_bytes.sha256, by_bytes.size_bytes) == (digest, len(body))
    assert await blobs.read(digest) == body
    assert await blobs.exists(digest)
    assert await blobs.verify(digest) == "sound"


async def test_empty_and_tiny_bodies(blobs: Blobs) -> None:
    """An empty body is a blob like any other, also from a spool nobody wrote to."""
    empty = await blobs.put(b"", "text/plain")
    async with blobs.spool("text/plain") as spool:
        assert await spool.commit() == empty
    assert await blobs.read(empty.sha256) == b""


async def test_missing_and_deleted_blobs(blobs: Blobs) -> None:
    """A blob that is not there says so by type; deleting twice is harmless."""
    artifact = await blobs.put(b"x" * 100, "text/plain")
    await blobs.delete(artifact.sha256)
    await blobs.delete(artifact.sha256)
    assert not await blobs.exists(artifact.sha256)
    assert await blobs.verify(artifact.sha256) == "missing"
    with pytest.raises(NotFoundError):
        await blobs.read(artifact.sha256)


async def test_damage_is_noticed(local: Blobs) -> None:
    """Bytes that no longer have their hash are never handed out."""
    artifact = await local.put(b"paid for", "text/plain")
    path = local.path(artifact.sha256)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"paid f0r")
    assert await local.verify(artifact.sha256) == "damaged"
    with pytest.raises(StorageError) as caught:
        await local.read(artifact.sha256)
    assert not caught.value.retryable


async def test_a_truncated_blob_is_replaced(local: Blobs) -> None:
    """A file of the wrong size under the name is not taken for the blob; a put mends it."""
    body = b"whole body"
    target = Path(str(local.path((await local.put(body, "text/plain")).sha256)))
    target.chmod(0o644)
    target.write_bytes(body[:4])
    artifact = await local.put(body, "text/plain")
    assert await local.read(artifact.sha256) == body


async def test_spools_leave_nothing_behind(blobs: Blobs) -> None:
    """A spool that is not committed, fails, or passes its cap leaves no file."""
    with pytest.raises(RuntimeError):
        await abandoned(blobs)
    with pytest.raises(StorageError) as caught:
        await spooled(blobs, b"eleven bytes", bytes_max=10)
    assert not caught.value.retryable
    await spooled(blobs, b"x")
    assert not any(blobs.spool_folder.glob("*"))


async def test_small_pieces_are_written_together(tmp_path: Path) -> None:
    """A body in a thousand pieces goes to the disk in a few, and whole."""
    ways, kept = [], []

    async def in_thread(work: Callable[..., Any], *args: Any) -> Any:
        ways.append(work)
        return work(*args)

    async def adopt(path: Path, artifact: Artifact) -> None:
        kept.append((path.read_bytes(), artifact.sha256))

    spool = Spool(tmp_path, "image/png", 10**9, in_thread, adopt)
    pieces = [os.urandom(1024) for _ in range(1000)]
    for piece in pieces:
        await spool.write(piece)
    await spool.commit()
    body = b"".join(pieces)
    assert kept == [(body, hashlib.sha256(body).digest())]
    assert len(ways) <= 1 + len(body) / GATHERED_BYTES
    await spool.discard()
    assert not any(tmp_path.iterdir())


async def test_a_spool_that_is_being_written_is_swept_by_nobody(local: Blobs) -> None:
    """However long it takes: another process sees that its writer lives, until it has its name."""
    other = await open_blobs(str(local.spool_folder.parent))
    async with local.spool("image/png") as spool:
        await spool.write(b"half a " * GATHERED_BYTES)
        assert len(list(local.spool_folder.glob(f"*{HELD}"))) == 1
        assert other.sweep(3600, time.time()) == 0
        await spool.write(b"picture")
        artifact = await spool.commit()
    assert await local.read(artifact.sha256) == b"half a " * GATHERED_BYTES + b"picture"
    (local.spool_folder / f"dead{HELD}").write_bytes(b"of a process that is there no more")
    (local.spool_folder / "another").write_bytes(b"of a release that took no locks")
    assert other.sweep(3600, time.time()) == 1
    assert [path.name for path in local.spool_folder.iterdir()] == ["another"]
    await other.close()


async def test_cancelled_puts_leave_nothing_behind(local: Blobs) -> None:
    """Cancelling at any moment leaves no temporary file, and no blob without its hash."""
    body = os.urandom(400_000)
    digest = hashlib.sha256(body).digest()

    async def one() -> None:
        async with local.spool("image/png") as spool:
            for start in range(0, len(body), 50_000):
                await spool.write(body[start : start + 50_000])
            await spool.commit()

    for passes in range(40):
        writing = asyncio.create_task(one())
        for _ in range(passes):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not any(local.spool_folder.iterdir())
        assert await local.verify(digest) in ("missing", "sound")
        await local.delete(digest)


async def test_equal_puts_at_once(local: Blobs, tmp_path: Path) -> None:
    """Fifty tasks that put the same bytes make one file and get one answer."""
    body = os.urandom(100_000)
    artifacts = await asyncio.gather(*(local.put(body, "image/png") for _ in range(50)))
    assert len(set(artifacts)) == 1
    assert names_in(tmp_path / "blobs") == [blob_key(artifacts[0].sha256)]


async def test_files_are_fsynced_before_their_names(
    local: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes reach the disk before the name does, and the folders after it, parents first."""
    synced: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        synced.append("fsync " + Path(f"/proc/self/fd/{handle}").resolve().name)
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        synced.append("rename")
        return real_replace(self, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to name an open file")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    artifact = await local.put(b"body", "text/plain")
    name = artifact.sha256.hex()
    first, *rest = synced
    assert first.removeprefix("fsync ") not in ("blobs", "sha256"), "the temporary file first"
    assert rest == [
        "fsync blobs",
        "fsync sha256",
        f"fsync {name[:2]}",
        "rename",
        f"fsync {name[2:4]}",
    ]
    synced.clear()
    await local.put(b"body", "text/plain")
    assert synced == [f"fsync {name[2:4]}"], "who finds it in place makes its name certain"


@pytest.mark.parametrize(
    ("code", "retryable", "word"),
    [
        (errno.ENOSPC, True, "full"),
        (errno.EDQUOT, True, "full"),
        (errno.EIO, True, "failed"),
        (errno.EROFS, False, "failed"),
    ],
)
async def test_failing_disks_leave_nothing(
    local: Blobs, monkeypatch: pytest.MonkeyPatch, code: int, retryable: bool, word: str
) -> None:
    """When fsync fails, the blob is not there, no file is left, and the error says what to do."""

    def fail(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=word) as caught:
        await local.put(b"body", "text/plain")
    assert caught.value.retryable is retryable
    assert caught.value.remedy
    with pytest.raises(StorageError):
        await spooled(local, b"body")
    monkeypatch.undo()
    assert not any(local.spool_folder.iterdir())
    assert not await local.exists(hashlib.sha256(b"body").digest())
    assert await local.read((await local.put(b"body", "text/plain")).sha256) == b"body"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("may not mount a tiny file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_waits_and_heals(tiny_disk: Path) -> None:
    """On a full disk nothing half-written shows; when there is room again, the same put works."""
    blobs = await open_blobs(str(tiny_disk / "blobs"))
    ballast = await blobs.put(os.urandom(1_200_000), "image/png")
    body = os.urandom(1_200_000)
    for _ in range(3):
        with pytest.raises(StorageError, match="full") as caught:
            await blobs.put(body, "image/png")
        assert caught.value.retryable
        with pytest.raises(StorageError, match="full"):
            await spooled(blobs, body)
    assert names_in(tiny_disk / "blobs") == [blob_key(ballast.sha256)]
    await blobs.delete(ballast.sha256)
    artifact = await blobs.put(body, "image/png")
    assert await blobs.verify(artifact.sha256) == "sound"
    await blobs.close()


async def test_sweep_takes_only_what_is_old(local: Blobs) -> None:
    """Temporary files of a crash go once they are old; young ones may belong to somebody."""
    old, young = local.spool_folder / "old", local.spool_folder / "young"
    for path, age_s in ((old, 7200), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    assert local.sweep(3600, 1_000_000) == 1
    assert not old.exists()
    assert young.exists()


async def test_addresses_that_are_none(tmp_path: Path) -> None:
    """An address that no store has, and a folder that cannot be made, say what to do."""
    with pytest.raises(ConfigError) as caught:
        await open_blobs("ftp://host/folder")
    assert "s3://" in caught.value.remedy
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as refused:
        await open_blobs(str(tmp_path / "file" / "blobs"))
    assert not refused.value.retryable


async def test_reading_in_pieces(local: Blobs) -> None:
    """A large blob is read piece by piece, never whole."""
    artifact = await local.put(os.urandom(8_000_000), "video/mp4")
    sizes = [len(piece) async for piece in local.pieces(artifact.sha256)]
    assert sum(sizes) == 8_000_000
    assert max(sizes) <= 4_000_000


def test_replacing_keeps_the_old_file(tmp_path: Path) -> None:
    """A file that is being replaced stays as it was until the new one is whole."""
    path = tmp_path / "report.json"
    path.write_text("old")

    def fails() -> None:
        with durable.replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert path.read_text() == "old"
    with durable.replacing(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["report.json"]
