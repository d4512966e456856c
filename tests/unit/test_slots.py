"""Slots: many for all, and a few for each shard whatever the others hold."""

from __future__ import annotations

import asyncio

from headrace.slots import ShardSlots, Slots


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_shard_gets_its_floor_when_others_hold_everything() -> None:
    """Items that all wait in a slow lane keep no other shard from its gates."""
    slots, slow, other = Slots(10, 2), ShardSlots(), ShardSlots()
    for _ in range(10):
        await slots.acquire(slow)
    for _ in range(2):
        await asyncio.wait_for(slots.acquire(other), 1)
    third = asyncio.create_task(slots.acquire(other))
    await settled()
    assert not third.done()
    slots.release(other)
    await third
    assert (slow.under_way, other.under_way) == (10, 2)


async def test_places_go_to_who_waits_longest_and_none_is_lost() -> None:
    """A waiter that is cancelled, even with its place in hand, leaves the place to the next."""
    slots, shard = Slots(1, 0), ShardSlots()
    await slots.acquire(shard)
    waiters = [asyncio.create_task(slots.acquire(shard)) for _ in range(3)]
    await settled()
    waiters[0].cancel()
    await settled()
    slots.release(shard)
    waiters[1].cancel()
    await settled()
    assert waiters[2].done()
    assert not waiters[2].cancelled()
    assert shard.under_way == 1
