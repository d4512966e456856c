"""Places for items under way: so many for all, and a few for each shard whatever others hold."""

from __future__ import annotations

import asyncio
from collections import deque


class ShardSlots:
    """One shard's part: how many of its items are under way."""

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = 0


class Slots:
    """Bounds items in memory on their way: ``most`` for all, ``floor`` for each shard.

    Without the floor, a shard whose items all wait in a slow lane would keep those of
    other lanes and tenants from their gates. So there are at most ``most``, and ``floor``
    for each shard held.
    """

    def __init__(self, most: int, floor: int) -> None:
        self._free = most
        self._floor = floor
        self._waiting: deque[tuple[ShardSlots, asyncio.Future[None]]] = deque()

    async def acquire(self, shard: ShardSlots) -> None:
        """Wait for a place for one more item of ``shard``."""
        if self._may(shard):
            self._enter(shard)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((shard, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(shard)
            raise

    def release(self, shard: ShardSlots) -> None:
        """Give a place back; it goes to whoever may have it and waits longest."""
        shard.under_way -= 1
        self._free += 1
        if not self._waiting:
            return
        # A shard waits for one place at a time, so few stand here.
        for _ in range(len(self._waiting)):
            waiter, future = self._waiting.popleft()
            if future.done():
                continue
            if self._may(waiter):
                self._enter(waiter)
                future.set_result(None)
            else:
                self._waiting.append((waiter, future))

    def _may(self, shard: ShardSlots) -> bool:
        return self._free > 0 or shard.under_way < self._floor

    def _enter(self, shard: ShardSlots) -> None:
        self._free -= 1
        shard.under_way += 1
