"""Held shards to executors: cached items settle in bulk, the others walk, suspects walk alone."""

from __future__ import annotations

import asyncio

from headrace.cache import Cache, CacheHit, CacheMode
from headrace.clock import give_way
from headrace.errors import FenceLostError
from headrace.executor import Executor
from headrace.held import HeldBatch, HeldItem
from headrace.order import Option
from headrace.outcome import CallFailed
from headrace.quiet import is_suspect
from headrace.routing import best_hit, check_sizes, keep_request, made_before, options_of
from headrace.settlement import pass_free_stages
from headrace.slots import ShardSlots, Slots
from headrace.store.writes import Settle
from headrace.writer import Writer

ITEMS_IN_FLIGHT_MAX = 1000
ITEMS_IN_FLIGHT_FLOOR = 50
"""So many items of a shard are always under way, however many others there are."""
AT_ONCE = 50
"""So many items of a shard are looked at, or started, before anything else has its turn."""


class Dispatcher:
    """Walks the items of claimed shards, a bounded number of them at a time."""

    def __init__(
        self,
        executor: Executor,
        cache: Cache,
        writer: Writer,
        stopping: asyncio.Event,
        in_flight_max: int = ITEMS_IN_FLIGHT_MAX,
    ) -> None:
        self._executor = executor
        self._cache = cache
        self._writer = writer
        self._stopping = stopping
        self._slots = Slots(in_flight_max, ITEMS_IN_FLIGHT_FLOOR)

    async def work(self, batch: HeldBatch, items: list[HeldItem], express: bool = False) -> None:
        """Walk ``items`` until each has ended, waits, or left; raises ``FenceLostError``.

        The few items of an ``express`` shard need no slots. Known jobs come first, suspects last,
        one by one.
        Other errors of single items are raised together once all have been tried.
        """
        left = await self._serve_cached(batch, items)
        trusted = [item for item in left if not is_suspect(item)]
        # Known jobs first: what they give may be gone in minutes.
        trusted.sort(key=lambda item: item.open_attempt is None)
        suspects = [item for item in left if is_suspect(item)]
        if express:
            tasks = [asyncio.create_task(self._executor.run(item)) for item in trusted]
        else:
            tasks = await self._spawn(trusted)
        errors = [error for error in await asyncio.gather(*tasks, return_exceptions=True) if error]
        for item in suspects:
            if self._stopping.is_set():
                break
            await self._executor.run(item)
        _raise_first(errors)

    async def _spawn(self, items: list[HeldItem]) -> list[asyncio.Task[None]]:
        """Start walking ``items`` as there are slots for them; return their tasks."""
        shard = ShardSlots()
        tasks: list[asyncio.Task[None]] = []
        for number, item in enumerate(items):
            await _breathe(number)
            await self._slots.acquire(shard)
            if self._stopping.is_set():
                self._slots.release(shard)
                break
            tasks.append(asyncio.create_task(self._walk(item, shard)))
        return tasks

    async def _walk(self, item: HeldItem, shard: ShardSlots) -> None:
        try:
            await self._executor.run(item)
        finally:
            self._slots.release(shard)

    async def _serve_cached(self, batch: HeldBatch, items: list[HeldItem]) -> list[HeldItem]:
        """Settle, in bulk, every item whose results are all there; return the others.

        Stage by stage, so that a recipe of four stages needs four look-ups for a whole
        shard. An item served up to some stage only keeps what it got and walks on.
        """
        if batch.cache_mode is not CacheMode.REUSE:
            return items
        left: list[HeldItem] = []
        wave = [item for item in items if item.open_attempt is None and item.crashes == 0]
        walking = [item for item in items if item.open_attempt is not None or item.crashes > 0]
        futures: list[asyncio.Future[bool]] = []
        while wave:
            wave, served, missed = await self._wave(batch, wave)
            left += missed
            futures += [self._writer.settles.hand_in(settle) for settle in served]
        results = await asyncio.gather(*futures, return_exceptions=True)
        _raise_first([result for result in results if isinstance(result, BaseException)])
        return sorted(walking + left, key=lambda item: item.idx)

    async def _wave(
        self, batch: HeldBatch, wave: list[HeldItem]
    ) -> tuple[list[HeldItem], list[Settle], list[HeldItem]]:
        asked: list[tuple[HeldItem, list[Option]]] = []
        missed: list[HeldItem] = []
        for number, item in enumerate(wave):
            await _breathe(number)
            wanted = _wanted(item)
            if wanted is None:
                missed.append(item)
            else:
                asked.append((item, wanted))
        prints = list({one.request.fingerprint for _, options in asked for one in options})
        hits: dict[bytes, CacheHit] = (
            await self._cache.get_many(batch.tenant_id, prints) if prints else {}
        )
        onward: list[HeldItem] = []
        served: list[Settle] = []
        for number, (item, options) in enumerate(asked):
            await _breathe(number)
            found = best_hit(options, hits)
            stage = batch.stages[item.stage]
            if found is None or not self._executor.serves(item, stage, options, found):
                item.found = found is not None
                missed.append(item)
                continue
            made = made_before(options, found)
            settle = self._executor.taken(item, stage, found, made)
            if settle.event is not None:
                served.append(settle)
            else:
                # Served so far in memory only: its next stages may be there as well.
                onward.append(item)
        return onward, served, missed


async def _breathe(number: int) -> None:
    """Let the rest of the process have its turn now and then while a shard is gone through."""
    if number % AT_ONCE == AT_ONCE - 1:
        await give_way()


def _wanted(item: HeldItem) -> list[Option] | None:
    """Return what may make the item's next stage, or ``None`` where it must walk."""
    item.asks = None
    try:
        if pass_free_stages(item):
            return None
        stage = item.batch.stages[item.stage]
        if not stage.cacheable or (item.batch.reads_texts and item.outputs):
            return None
        options = options_of(stage, item.given())
        check_sizes(item, stage, options)
        keep_request(item, options)
        return options
    except CallFailed:
        return None


def _raise_first(errors: list[BaseException]) -> None:
    for error in errors:
        if isinstance(error, FenceLostError):
            raise error
    if errors:
        raise errors[0]
