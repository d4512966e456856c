"""Keeps the batches of a schedule to their share of a lane: their calls go no faster, no wider.

A share is of what the lane allows now, as its pacer knows it: of each rate (requests, tokens,
images a second) and of the calls in flight. It is a cap: what others leave unused stays so.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from headrace.clock import Clock
from headrace.gate import LaneNow
from headrace.limits import Quota
from headrace.order import Order
from headrace.pacing import takes_s
from headrace.surroundings import Released

AGAIN_S = 1.0
"""So often who waits looks anew at what the lane allows."""
SHUT_S = 5.0
"""So long after its hours nothing of a batch starts by itself: it is paused within that."""
BRAKES_MAX = 1000


@dataclass(slots=True)
class _Brake:
    """What the batches of one schedule take of one lane: calls under way, and when the next may go.

    The first of ``line`` waits for its moment, the others for their turn.
    """

    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    out: int = 0
    users: int = 0
    next_s: float = -math.inf
    shut_s: float | None = None


def width_of(share: float, quota: Quota, lane: LaneNow | None) -> int:
    """Return how many calls may be in flight here under a share of a lane: at least one."""
    if lane is None:
        return max(1, int(share * quota.concurrency))
    width = lane.pacer.circuit.width(lane.pacer.width.cap)
    return max(1, int(min(width, 1e6) * share / max(1, lane.workers)))


class LaneShares:
    """The shares of one process; ``lanes`` tells how the lanes do now."""

    def __init__(self, clock: Clock, lanes: Callable[[], list[LaneNow]]) -> None:
        self._clock = clock
        self._lanes = lanes
        self._brakes: dict[tuple[str, str], _Brake] = {}

    def place(self, order: Order, stopping: asyncio.Event) -> AbstractAsyncContextManager[None]:
        """Wait for the share of an order's batch, and keep the place while the block runs.

        What only goes on with an earlier call needs none. Raises ``Released`` when the process
        stops meanwhile.
        """
        hours, again = order.item.batch.hours, order.again
        follows = again is not None and again.goes_on
        if not hours.is_bounded or order.option.batches is not None or follows:
            return nullcontext()
        return self._place(order, stopping)

    @asynccontextmanager
    async def _place(self, order: Order, stopping: asyncio.Event) -> AsyncIterator[None]:
        brake = self._brake(order)
        brake.users += 1
        try:
            async with brake.line:
                await self._moment(brake, order, stopping)
                brake.out += 1
            try:
                yield
            finally:
                brake.out -= 1
                brake.freed.set()
        finally:
            brake.users -= 1

    def _brake(self, order: Order) -> _Brake:
        batch = order.item.batch
        if len(self._brakes) >= BRAKES_MAX:
            self._brakes = {key: one for key, one in self._brakes.items() if one.users}
        key = (order.option.lane, batch.schedule or str(batch.id))
        return self._brakes.setdefault(key, _Brake())

    async def _moment(self, brake: _Brake, order: Order, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            wait_s = self._wait_s(brake, order)
            if wait_s <= 0:
                return
            brake.freed.clear()
            waits = (
                asyncio.ensure_future(self._clock.sleep(min(wait_s, AGAIN_S))),
                asyncio.ensure_future(brake.freed.wait()),
                asyncio.ensure_future(stopping.wait()),
            )
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
        raise Released

    def _wait_s(self, brake: _Brake, order: Order) -> float:
        """Return the seconds until the next call may go; 0.0: now, and it is counted."""
        now_s, share = self._clock.monotonic_s(), self._share(brake, order)
        if share == 0:
            return AGAIN_S
        if share >= 1:
            return 0.0
        name, quota = order.option.lane, order.provider.quota
        lane = next((one for one in self._lanes() if one.name == name), None)
        if brake.out >= width_of(share, quota, lane):
            return AGAIN_S
        if brake.next_s > now_s:
            return brake.next_s - now_s
        if lane is not None:
            call_s = takes_s(lane.pacer, order.provider.load(order.request))
            brake.next_s = now_s + call_s * max(1, lane.workers) / share
        return 0.0

    def _share(self, brake: _Brake, order: Order) -> float:
        """Return the share in force.

        Outside of its hours a batch is about to be paused; where a person lets it run all the
        same, it has what it has without windows.
        """
        hours, now_s = order.item.batch.hours, self._clock.monotonic_s()
        share = hours.share_at(self._clock.now())
        if share > 0:
            brake.shut_s = None
            return share
        brake.shut_s = now_s if brake.shut_s is None else brake.shut_s
        return hours.share if now_s >= brake.shut_s + SHUT_S else 0.0
