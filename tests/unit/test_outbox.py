"""The outbox: room is asked for before a call, kept to by what comes, and given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from headrace import outbox as outbox_module
from headrace.blob import Blobs
from headrace.errors import NotFoundError, StorageError
from headrace.outbox import FIRST_BYTES, Outbox, Room

MIB = 1024 * 1024


async def passes() -> None:
    """Let waiting tasks go on."""
    for _ in range(5):
        await asyncio.sleep(0)


def blobs_at(folder: Path, bytes_max: int) -> tuple[Blobs, Outbox]:
    outbox = Outbox(folder / "waiting", bytes_max)
    return Blobs(MemoryStore(), None, folder, outbox), outbox


async def test_calls_wait_while_there_is_no_room(tmp_path: Path) -> None:
    """So many enter as fit at the size that is likely; the next ones when somebody leaves."""
    outbox = Outbox(tmp_path, 8 * FIRST_BYTES)
    rooms = [await outbox.enter() for _ in range(8)]
    assert outbox.used_bytes == outbox.bytes_max
    waiting = asyncio.create_task(outbox.enter())
    await passes()
    assert not waiting.done()
    rooms[0].release()
    rooms[0].release()
    await passes()
    assert waiting.done()
    assert outbox.used_bytes == outbox.bytes_max


async def test_the_first_always_enters(tmp_path: Path) -> None:
    """A bound below the likely size lets one in at a time, not none."""
    blobs, outbox = blobs_at(tmp_path, MIB)
    room = await outbox.enter()
    await blobs.put(b"x" * MIB, "image/png", room)
    room.release()
    waiting = asyncio.create_task(outbox.enter())
    await passes()
    # Its bytes are still here, as a stray: nobody has sent them.
    assert not waiting.done()
    for path in outbox.folder.iterdir():
        path.unlink()
    await outbox.strays()
    await passes()
    assert waiting.done()
    await blobs.close()


async def test_what_comes_teaches_what_is_likely(tmp_path: Path) -> None:
    """After the first bodies as many calls enter as fit bodies of that size."""
    blobs, outbox = blobs_at(tmp_path, MIB)
    room = await outbox.enter()
    await blobs.put(b"x" * 100_000, "image/png", room)
    assert outbox.used_bytes == 100_000
    others = []
    while outbox.used_bytes + 100_000 <= MIB:
        others.append(await outbox.enter())
    assert len(others) == 9
    await blobs.close()


async def test_a_body_larger_than_expected_waits_for_room(tmp_path: Path) -> None:
    """It grows as others leave, and goes before calls that have not begun."""
    blobs, outbox = blobs_at(tmp_path, MIB)
    small, large = await outbox.enter(), await outbox.enter()
    await small.grow(600_000)
    writing = asyncio.create_task(large.grow(500_000))
    await passes()
    assert not writing.done()
    entering = asyncio.create_task(outbox.enter())
    await passes()
    small.release()
    await passes()
    assert writing.done()
    assert entering.done()
    await blobs.close()


async def test_a_body_larger_than_the_spool_says_so(tmp_path: Path) -> None:
    """What can never fit is an error that names the setting."""
    room = await Outbox(tmp_path, MIB).enter()
    with pytest.raises(StorageError) as caught:
        await room.grow(MIB + 1)
    assert caught.value.place == "storage.spool_bytes_max"
    assert not caught.value.retryable


async def test_a_full_spool_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that finds no room in its time is an error that waiting may mend."""
    monkeypatch.setattr(outbox_module, "GROW_S", 0.0)
    outbox = Outbox(tmp_path, MIB)
    one, two = await outbox.enter(), await outbox.enter()
    await one.grow(MIB - MIB // 8)
    with pytest.raises(StorageError) as caught:
        await two.grow(MIB // 2)
    assert caught.value.retryable
    one.release()
    await two.grow(MIB // 2)


async def test_a_body_is_sent_once_and_found_by_others(tmp_path: Path) -> None:
    """Before it is sent nobody else can read it; afterwards it is no longer here."""
    blobs, outbox = blobs_at(tmp_path, MIB)
    room = await outbox.enter()
    async with blobs.spool("image/png", room=room) as spool:
        await spool.write(b"x" * 50_000)
        await spool.write(b"y" * 50_000)
        artifact = await spool.commit()
    assert not await blobs.exists(artifact.sha256)
    assert outbox.path(artifact.sha256).is_file()
    await blobs.forward(artifact)
    await blobs.forward(artifact)
    room.release()
    assert await blobs.verify(artifact.sha256) == "sound"
    assert (outbox.used_bytes, outbox.files()) == (0, {})
    await blobs.delete(artifact.sha256)
    with pytest.raises(NotFoundError, match="neither"):
        await blobs.forward(artifact)
    await blobs.close()


async def test_what_is_given_up_takes_no_room(tmp_path: Path) -> None:
    """A spool that is left before its end leaves neither bytes nor room behind."""
    blobs, outbox = blobs_at(tmp_path, MIB)
    room = await outbox.enter()
    async with blobs.spool("image/png", room=room) as spool:
        await spool.write(b"x" * 400_000)
        assert outbox.used_bytes == 400_000
    assert outbox.used_bytes == MIB // 8
    room.release()
    assert outbox.used_bytes == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    await blobs.close()


async def test_a_damaged_body_is_not_sent(tmp_path: Path) -> None:
    """A file that lost its hash is told by its place, and the store has nothing of it."""
    blobs, outbox = blobs_at(tmp_path, MIB)
    artifact = await blobs.put(b"x" * 50_000, "image/png", await outbox.enter())
    outbox.path(artifact.sha256).write_bytes(b"y" * 50_000)
    with pytest.raises(NotFoundError, match="damaged") as caught:
        await blobs.forward(artifact)
    assert caught.value.place == str(outbox.path(artifact.sha256))
    assert not await blobs.exists(artifact.sha256)
    await blobs.close()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400_000)), max_size=40))
def test_the_bound_is_never_passed(moves: list[tuple[int, int]]) -> None:
    """However calls enter, grow and leave, what is counted stays within the bound."""

    async def play() -> None:
        outbox = Outbox(Path("nowhere"), MIB)
        rooms: list[Room] = []
        tasks: list[asyncio.Task[None]] = []
        for place, size in moves:
            if place == 0 or not rooms:
                entering = asyncio.create_task(outbox.enter())
                await passes()
                if entering.done():
                    rooms.append(entering.result())
                else:
                    entering.cancel()
            elif place == 1:
                rooms.pop().release()
            elif not any(not task.done() for task in tasks):
                tasks.append(asyncio.create_task(rooms[place % len(rooms)].grow(size)))
            await passes()
            assert outbox.used_bytes <= outbox.bytes_max
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(play())
