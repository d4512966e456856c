"""One look at the database for all who watch a batch; who is slow is told less, and holds nobody.

A ``Feed`` reads a batch's counts and events every ``TICK_S`` seconds while it moves, and keeps
the latest ``KEPT`` events. A reader is a place in them: it is given what came since, however
much that is, and where that is no longer kept, the batch as it stands.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import msgspec

from headrace.clock import Clock
from headrace.errors import HeadraceError, NotFoundError
from headrace.event import Event
from headrace.http.shapes import batch_shape
from headrace.lifecycle import BATCH_FINAL, BatchState
from headrace.store.batches import Summary
from headrace.telemetry import log

TICK_S = 0.1
IDLE_S_MAX = 1.0
BEAT_S = 15.0
KEPT = 2000
SINGLE_MAX = 8
"""So many events at once are told one by one; more of them as one ``delta``."""

DELTA_MAX = 250
PAGE = 500
READERS_MAX = 5000
_FRAMES_KEPT = 64
_encode = msgspec.json.Encoder().encode


class BusyError(HeadraceError):
    """More readers than this process serves."""

    code = "busy"
    status = 503
    retryable = True


class Watched(Protocol):
    """What a feed asks of a batch; ``changed`` returns when it may have moved, or in time."""

    uuid: UUID
    changed: Callable[[float], Awaitable[None]]

    async def summary(self) -> Summary:
        """Return the batch with its counts."""
        ...

    async def events_after(self, seq: int, limit: int) -> list[Event]:
        """Return the events after a number."""
        ...


class Frame:
    """One message, made once for all who are sent it: ``data`` is JSON."""

    __slots__ = ("_sse", "_text", "data", "kind", "number")

    def __init__(self, kind: str, number: int | None, data: bytes) -> None:
        self.kind = kind
        self.number = number
        self.data = data
        self._sse: bytes | None = None
        self._text: str | None = None

    def sse(self) -> bytes:
        """Return the message as a server-sent event."""
        if self._sse is None:
            line = b"" if self.number is None else f"id: {self.number}\n".encode()
            self._sse = line + f"event: {self.kind}\ndata: ".encode() + self.data + b"\n\n"
        return self._sse

    def text(self) -> str:
        """Return the message as one JSON object, for a WebSocket."""
        if self._text is None:
            told = {"event": self.kind, "id": self.number, "data": msgspec.Raw(self.data)}
            self._text = _encode(told).decode()
        return self._text


@dataclass(slots=True)
class _Place:
    """Where a reader is: the event behind which it goes on, and the snapshot it has seen."""

    at: int
    shown: int
    beats: int


class Feed:
    """A batch as all its readers see it; ``run`` keeps it up to date."""

    def __init__(self, batch: Watched, clock: Clock) -> None:
        self.readers = 0
        self.over = False
        self._batch = batch
        self._clock = clock
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self._kept: list[tuple[str, bytes]] = []
        self._first = 1
        self._version = self._beats = 0
        self._told = b""
        self._event = 0
        self._at_s = clock.monotonic_s()
        self._frames: OrderedDict[tuple[int, int, int], list[Frame]] = OrderedDict()

    @property
    def _head(self) -> int:
        """Return the number of the latest event that is kept."""
        return self._first + len(self._kept) - 1

    async def run(self) -> None:
        """Look at the batch again and again, until it has ended."""
        wait_s = TICK_S
        while not self.over:
            try:
                moved = await self.look()
            except NotFoundError:
                self.over = moved = True
            except Exception as error:  # broad: the database may be away; readers wait meanwhile
                log(batch=str(self._batch.uuid)).warning("feed_failed", error=repr(error))
                moved = False
            wait_s = TICK_S if moved else min(IDLE_S_MAX, 2 * wait_s)
            if not self.over:
                await self._clock.sleep(TICK_S)
                if not moved:
                    await self._batch.changed(wait_s)

    async def look(self) -> bool:
        """Look at the batch once, and tell of what has moved; returns whether anything has."""
        now = await self._batch.summary()
        if not self._ready.is_set():
            self._first = max(0, now.event_seq - KEPT) + 1
        before = self._head
        while self._head < now.event_seq:
            found = await self._batch.events_after(self._head, PAGE)
            for event in found:
                self._keep(event)
            if len(found) < PAGE:
                break
        if self._head < now.event_seq:
            # They are written with the count, so what is not there now never comes.
            self._kept, self._first = [], now.event_seq + 1
        told = _encode(batch_shape(now))
        moved = told != self._told or self._head != before
        if moved:
            self._told, self._event = told, now.event_seq
            self._version += 1
        self.over = BatchState(now.state) in BATCH_FINAL and now.event_seq <= self._head
        self._ready.set()
        self._wake(moved or self.over)
        return moved

    def _wake(self, moved: bool) -> None:
        now_s = self._clock.monotonic_s()
        if moved or now_s - self._at_s >= BEAT_S:
            self._at_s = now_s
            self._beats += not moved
            self._news.set()
            self._news = asyncio.Event()

    def _keep(self, event: Event) -> None:
        number, _ = event.cursor
        if number != self._head + 1:
            # Numbers are without gaps, so some are gone; who waits for them is told all anew.
            self._kept, self._first = [], number
        row = None if event.item_idx is None else event.item_idx + 1
        told = {**event.data, "row_number": row, "at": event.at.isoformat()}
        self._kept.append((event.kind.value, _encode(told)))
        if len(self._kept) >= 2 * KEPT:
            self._first += len(self._kept) - KEPT
            self._kept = self._kept[-KEPT:]

    async def frames(self, after: int) -> AsyncGenerator[Frame | None, None]:
        """Yield a snapshot, what comes after event ``after``, and a snapshot at the end.

        ``None`` is a beat: nothing has moved for a while. What lies too far back is left out:
        a snapshot called ``resync`` stands for it.
        """
        await self._ready.wait()
        place = _Place(min(after, self._head), self._version, self._beats)
        missed = self._has_lost(place.at)
        if missed:
            place.at = self._head
        last = self._snapshot("resync" if missed and after else "batch")
        yield last
        while True:
            news, due = self._news, self._due(place)
            for frame in due:
                last = frame or last
                yield frame
            if not due and self.over:
                break
            if not due:
                await news.wait()
        if last.kind != "batch":
            yield self._snapshot("batch")

    def _due(self, place: _Place) -> Sequence[Frame | None]:
        """Return what a reader is to be told now, and move it on."""
        if self._has_lost(place.at):
            place.at, place.shown = self._head, self._version
            return [self._snapshot("resync")]
        if place.at < self._head:
            found = self._since(place.at)
            place.at = found[-1].number or self._head
            return found
        if place.shown != self._version:
            place.shown = self._version
            return [self._snapshot("batch")]
        if place.beats != self._beats:
            place.beats = self._beats
            return [None]
        return []

    def _has_lost(self, at: int) -> bool:
        """Tell whether events after number ``at`` are not kept, or too many to be told."""
        return at < max(self._first - 1, self._head - KEPT)

    def _snapshot(self, kind: str) -> Frame:
        key = (-1 if kind == "batch" else -2, 0, self._version)
        if key not in self._frames:
            self._frame(key, [Frame(kind, self._event if kind == "resync" else None, self._told)])
        return self._frames[key][0]

    def _since(self, at: int) -> list[Frame]:
        """Return what tells of the events after number ``at``, of ``DELTA_MAX`` at most."""
        begin = at + 1 - self._first
        found = self._kept[begin : begin + DELTA_MAX]
        end = at + len(found)
        key = (at, end, self._version)
        if key in self._frames:
            return self._frames[key]
        if len(found) <= SINGLE_MAX:
            made = [Frame(kind, at + 1 + n, data) for n, (kind, data) in enumerate(found)]
        else:
            told: dict[str, Any] = {
                "first": at + 1,
                "last": end,
                "events": [{"kind": kind, "data": msgspec.Raw(data)} for kind, data in found],
                "batch": msgspec.Raw(self._told) if end == self._head else None,
            }
            made = [Frame("delta", end, _encode(told))]
        return self._frame(key, made)

    def _frame(self, key: tuple[int, int, int], made: list[Frame]) -> list[Frame]:
        """Keep frames for the next reader at the same place: most are."""
        self._frames[key] = made
        if len(self._frames) > _FRAMES_KEPT:
            self._frames.popitem(last=False)
        return made


class Feeds:
    """The feeds of a process: one for each batch that somebody watches."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._feeds: dict[UUID, tuple[Feed, asyncio.Task[None]]] = {}
        self._readers = 0

    def readers(self) -> int:
        """Return how many are watching now."""
        return self._readers

    def check_room(self) -> None:
        """Raise ``BusyError`` where no further reader is let in."""
        if self._readers >= READERS_MAX:
            raise BusyError(
                f"{self._readers} readers are watching already",
                remedy="Ask for the batch itself instead, with its ETag.",
            )

    @asynccontextmanager
    async def reading(self, batch: Watched) -> AsyncIterator[Feed]:
        """Have the feed of a batch while the block runs."""
        self.check_room()
        known = self._feeds.get(batch.uuid)
        if known is None or known[0].over:
            feed = Feed(batch, self._clock)
            known = (feed, asyncio.create_task(feed.run(), name="feed"))
            self._feeds[batch.uuid] = known
        feed, task = known
        feed.readers += 1
        self._readers += 1
        try:
            yield feed
        finally:
            self._readers -= 1
            feed.readers -= 1
            if not feed.readers:
                task.cancel()
                if self._feeds.get(batch.uuid) is known:
                    del self._feeds[batch.uuid]
