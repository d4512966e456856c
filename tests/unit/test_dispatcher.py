"""A shard on its way to the executor: what else is to be done in the process has its turn."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from headrace.dispatcher import AT_ONCE, Dispatcher
from headrace.held import HeldItem
from tests.unit.test_routing import item_of

ITEMS = 10 * AT_ONCE


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    async def stop(self) -> int:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.count


class Walks:
    """An executor that notes how many items it was given before anything else had its turn."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[int] = []

    async def run(self, item: HeldItem) -> None:
        self.begun.append(self.turns.count)


class Nothing:
    """A cache that has nothing, and settles that never come."""

    async def get_many(self, tenant_id: str, prints: list[bytes]) -> dict[bytes, Any]:
        return {}


async def test_a_large_shard_holds_nothing_else_up() -> None:
    """Items are looked up and begun some at a time: a request over HTTP waits for a few of them."""
    items = [item_of("a:m") for _ in range(ITEMS)]
    for number, item in enumerate(items):
        item.idx, item.row = number, {"t": f"tea {number}"}
    turns = Turns()
    walks = Walks(turns)
    dispatcher = Dispatcher(
        cast(Any, walks), cast(Any, Nothing()), cast(Any, None), asyncio.Event(), ITEMS
    )
    await dispatcher.work(items[0].batch, items)
    assert len(walks.begun) == ITEMS
    assert await turns.stop() >= 3 * ITEMS / AT_ONCE - 3
    assert max(map(walks.begun.count, set(walks.begun))) <= AT_ONCE + 1
