"""A feed tells all who watch a batch from one look; slow readers cost nothing and hold nobody."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from headrace.event import Event, EventKind
from headrace.http import broadcast
from headrace.http.broadcast import BusyError, Feed, Feeds, Frame
from headrace.lifecycle import BatchState
from headrace.store.batches import Summary
from headrace.testing.manual_clock import ManualClock

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BATCH = UUID(int=7)
EMPTY = Summary(
    BATCH, "default", "b", "running", "batch", "r", b"", 100_000, "reuse", "retry", None, "{}",
    0, NOW, None, 100_000, *([0] * 15),
)  # fmt: skip


class Moving:
    """A batch that a test moves by hand, and that counts how often it is looked at."""

    def __init__(self) -> None:
        self.uuid = BATCH
        self.looks = 0
        self.state = BatchState.RUNNING
        self.told: list[Event] = []
        self.changed: Any = self._changed

    def end(self, count: int) -> None:
        """Let so many items end."""
        for _ in range(count):
            number = len(self.told) + 1
            kind, idx = EventKind.ITEM_SUCCEEDED, number - 1
            self.told.append(Event((number, 0), BATCH, kind, idx, {"stage": "draw"}, NOW))

    async def summary(self) -> Summary:
        self.looks += 1
        done = len(self.told)
        return replace(
            EMPTY,
            state=self.state.value,
            pending=EMPTY.item_count - done,
            succeeded=done,
            event_seq=done,
        )

    async def events_after(self, seq: int, limit: int) -> list[Event]:
        return self.told[seq : seq + limit]

    async def _changed(self, wait_s: float) -> None:
        await asyncio.sleep(0)


def made() -> tuple[Moving, Feed, ManualClock]:
    """A feed over a batch, both moved by hand."""
    batch, clock = Moving(), ManualClock()
    return batch, Feed(batch, clock), clock


async def taken(frames: AsyncIterator[Frame | None], count: int) -> list[Frame]:
    """The next frames."""
    found = [await asyncio.wait_for(anext(frames), 5) for _ in range(count)]
    return [frame for frame in found if frame is not None]


def numbers(frames: list[Frame]) -> list[int]:
    """The numbers of the events that frames tell of."""
    found: list[int] = []
    for frame in frames:
        if frame.kind == "delta":
            told = json.loads(frame.data)
            assert len(told["events"]) == told["last"] - told["first"] + 1
            found += range(told["first"], told["last"] + 1)
        elif frame.kind.startswith("item.") and frame.number is not None:
            found.append(frame.number)
    return found


async def test_few_events_are_told_one_by_one_and_many_as_one() -> None:
    """A quiet batch tells each event; a busy one a delta with the counts beside them."""
    batch, feed, _ = made()
    batch.end(2)
    await feed.look()
    frames = feed.frames(0)
    assert [f.kind for f in await taken(frames, 3)] == ["batch", *["item.succeeded"] * 2]
    batch.end(100)
    await feed.look()
    (delta,) = await taken(frames, 1)
    told = json.loads(delta.data)
    assert (delta.kind, delta.number) == ("delta", 102)
    assert (told["first"], told["last"], len(told["events"])) == (3, 102, 100)
    assert told["events"][0]["data"]["row_number"] == 3
    assert told["batch"]["line"] == "Generating 102 of 100000"


async def test_who_comes_back_misses_nothing() -> None:
    """Behind any event a reader goes on with the next one, each told once, in order."""
    batch, feed, _ = made()
    batch.end(1900)
    batch.state = BatchState.COMPLETED
    await feed.look()
    for after in (0, 1, 250, 1000, 1891, 1892, 1899, 1900, 5000):
        found = [frame async for frame in feed.frames(after) if frame is not None]
        assert found[0].kind == found[-1].kind == "batch"
        assert numbers(found) == list(range(after + 1, 1901))


async def test_a_gap_is_told_as_one() -> None:
    """Who asks for what is no longer kept, or falls too far behind, is told all anew."""
    batch, feed, _ = made()
    batch.end(broadcast.KEPT + 500)
    await feed.look()
    (first,) = await taken(feed.frames(3), 1)
    assert (first.kind, first.number) == ("resync", broadcast.KEPT + 500)
    slow = feed.frames(broadcast.KEPT + 500)
    await taken(slow, 1)
    batch.end(3 * broadcast.KEPT)
    await feed.look()
    (again,) = await taken(slow, 1)
    assert (again.kind, again.number) == ("resync", 4 * broadcast.KEPT + 500)
    assert json.loads(again.data)["done"] == 4 * broadcast.KEPT + 500


async def test_events_that_are_gone_are_a_gap() -> None:
    """Where numbers are missing in the database, readers are told of the batch instead."""
    batch, feed, _ = made()
    batch.end(10)
    await feed.look()
    frames = feed.frames(10)
    await taken(frames, 1)
    batch.end(20)
    del batch.told[10:15]

    async def events_after(seq: int, limit: int) -> list[Event]:
        return [one for one in batch.told if one.cursor[0] > seq][:limit]

    async def summary() -> Summary:
        return replace(EMPTY, state="running", pending=99_970, succeeded=30, event_seq=30)

    batch.events_after = events_after  # type: ignore[method-assign]
    batch.summary = summary  # type: ignore[method-assign]
    await feed.look()
    assert [one.kind for one in await taken(frames, 1)] == ["resync"]


async def test_a_batch_whose_events_are_gone_still_ends() -> None:
    """Where nothing but the counts is left of a batch, its readers are told those, and the end."""
    batch, feed, _ = made()
    batch.end(30)
    batch.state = BatchState.COMPLETED
    now = await batch.summary()
    batch.told.clear()

    async def summary() -> Summary:
        return now

    batch.summary = summary  # type: ignore[method-assign]
    await feed.look()
    assert feed.over
    assert [one.kind async for one in feed.frames(0) if one is not None] == ["batch"]
    assert [one.kind async for one in feed.frames(7) if one is not None] == ["resync", "batch"]


async def test_counts_that_move_without_an_event_are_told() -> None:
    """Items that begin have no event; a snapshot tells of them, and no beat is needed."""
    batch, feed, clock = made()
    await feed.look()
    frames = feed.frames(0)
    await taken(frames, 1)
    batch.state = BatchState.PAUSED
    await feed.look()
    (frame,) = await taken(frames, 1)
    assert json.loads(frame.data)["line"] == "Paused at 0 of 100000"
    await clock.advance(broadcast.BEAT_S + 1)
    await feed.look()
    assert await asyncio.wait_for(anext(frames), 5) is None


async def test_all_readers_together_look_once() -> None:
    """However many watch, a batch is looked at once each tick, and not at all when nobody does."""
    batch, clock = Moving(), ManualClock()
    feeds = Feeds(clock)

    async def watch() -> None:
        async with feeds.reading(batch) as feed:
            async for _ in feed.frames(0):
                pass

    readers = [asyncio.create_task(watch()) for _ in range(200)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert batch.looks == 1
    for _ in range(5):
        batch.end(3)
        await clock.advance(broadcast.TICK_S)
    assert batch.looks <= 7
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    looks = batch.looks
    await clock.advance(60)
    assert batch.looks == looks
    assert not feeds._feeds


async def test_a_database_that_is_away_is_waited_for() -> None:
    """A look that fails costs readers nothing but time."""
    batch, clock = Moving(), ManualClock()
    feed = Feed(batch, clock)
    whole, away = batch.summary, True

    async def summary() -> Summary:
        if away:
            raise OSError("gone")
        return await whole()

    batch.summary = summary  # type: ignore[method-assign]
    running = asyncio.create_task(feed.run())
    waiting = asyncio.create_task(taken(feed.frames(0), 1))
    await clock.advance(20)
    assert not waiting.done()
    away = False
    await clock.advance(20)
    assert [frame.kind for frame in await waiting] == ["batch"]
    running.cancel()


async def test_there_is_an_end_to_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound a process lets no reader in, and says so; who goes makes room."""
    monkeypatch.setattr(broadcast, "READERS_MAX", 1)
    feeds = Feeds(ManualClock())
    async with feeds.reading(Moving()):
        with pytest.raises(BusyError):
            feeds.check_room()
    feeds.check_room()


async def test_a_thousand_slow_readers_are_flat() -> None:
    """A thousand who stopped taking hold no memory while 24,000 items end; another misses none."""
    batch, feed, _ = made()
    await feed.look()
    quick = feed.frames(0)
    await taken(quick, 1)
    slow = [feed.frames(0) for _ in range(1000)]
    for frames in slow:
        await taken(frames, 1)
    seen: list[int] = []
    batch.end(500)
    await feed.look()
    seen += numbers(await taken(quick, 2))
    # Each slow reader holds a frame that it never gets rid of, from different times.
    for at, frames in enumerate(slow):
        if at % 100 == 0:
            batch.end(200)
            await feed.look()
            seen += numbers(await taken(quick, 1))
        await taken(frames, 1)
    tracemalloc.start()
    for _ in range(120):
        batch.end(200)
        await feed.look()
        seen += numbers(await taken(quick, 1))
    held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, broadcast.__file__)])
    tracemalloc.stop()
    assert sum(one.size for one in held.statistics("filename")) < 2_500_000
    assert seen == list(range(1, 26_501))
    for frames in [*slow, quick]:
        await frames.aclose()
